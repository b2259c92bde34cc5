"""A florist's telephone: an ordinary LiveKit agent with a tool of its own."""

from __future__ import annotations

from livekit.agents import Agent, ToolError, function_tool

ORDERS = {1001: "on its way and arrives today", 1002: "being bound and leaves tomorrow morning"}


class Florist(Agent):
    """Tells callers where their flowers are."""

    def __init__(self) -> None:
        super().__init__(
            instructions=(
                "You answer the telephone of a florist. Callers ask about their orders; ask for the order number "
                "and look it up. Answer in one or two short sentences."
            )
        )

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.generate_reply(instructions="Greet the caller and ask for the order number.")

    @function_tool
    async def order_status(self, order_number: int) -> str:
        """Look up the state of an order.

        Args:
            order_number: the number on the caller's receipt.
        """
        try:
            return f"Order {order_number} is {ORDERS[order_number]}."
        except KeyError:
            raise ToolError(f"There is no order {order_number}; ask the caller to read the number again.") from None
