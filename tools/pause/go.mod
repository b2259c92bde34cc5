module voice-agent.local/tools/pause

go 1.25.0
