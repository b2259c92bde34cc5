"""The keeper: notices calls whose agents are gone, and has other pods take them up. It is in no call's path."""
