"""The shop's stock as an MCP server: JSON-RPC on standard input and output, a message a line."""

import json
import sys
from pathlib import Path

STOCK = Path("stock.json")
ITEM = {"item": {"type": "string"}}
TOOLS = [
    {
        "name": "in_stock",
        "description": "How many of an item there are.",
        "inputSchema": {"type": "object", "properties": ITEM, "required": ["item"]},
    },
    {
        "name": "order",
        "description": "Take some of an item out of the stock.",
        "inputSchema": {
            "type": "object",
            "properties": {**ITEM, "count": {"type": "integer"}},
            "required": ["item", "count"],
        },
    },
]


def call(name, arguments):
    """Return a tool's text, and whether it failed."""
    stock = json.loads(STOCK.read_text())
    item = arguments["item"]
    if item not in stock:
        return f"There is no {item}.", True
    if name == "in_stock":
        return str(stock[item]), False
    if arguments["count"] > stock[item]:
        return f"There are only {stock[item]}.", True
    stock[item] -= arguments["count"]
    STOCK.write_text(json.dumps(stock))
    return f"Ordered; {stock[item]} are left.", False


def answer(method, params):
    """Return the result of a request."""
    if method == "initialize":
        info = {"name": "stock", "version": "1.0"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        text, failed = call(params["name"], params["arguments"])
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:  # a notification wants no answer
        result = answer(message["method"], message.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
