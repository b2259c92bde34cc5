"""A florist's telephone: an ordinary LiveKit agent with tools, and a basket that moves with the call."""

from __future__ import annotations

from livekit.agents import Agent, ToolError, function_tool

ORDERS = {1001: "on its way and arrives today", 1002: "being bound and leaves tomorrow morning"}


class Florist(Agent):
    """Tells callers where their flowers are, and takes orders."""

    def __init__(self) -> None:
        super().__init__(
            instructions=(
                "You answer the telephone of a florist. Callers ask about their orders; ask for the order number "
                "and look it up. Or they order flowers; put each into the basket. Answer in one or two short sentences."
            )
        )
        self.basket: list[str] = []

    async def on_enter(self) -> None:
        """Greet the caller: once in a call, not again when the call comes to another pod."""
        self.session.generate_reply(instructions="Greet the caller and ask for the order number.")

    def save_state(self) -> list[str]:
        """What another pod needs to go on with this call, as JSON can hold it."""
        return self.basket

    def restore_state(self, state: list[str]) -> None:
        """Go on with a call that another pod began."""
        self.basket = state

    @function_tool
    async def put_into_basket(self, flowers: str) -> str:
        """Put flowers into the basket.

        Args:
            flowers: what the caller orders, for example "ten white tulips".
        """
        self.basket.append(flowers)
        return f"In the basket: {', '.join(self.basket)}."

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
