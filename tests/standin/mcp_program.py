"""An MCP server that behaves as its first argument says."""

import json
import os
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else ""
TOOLS = ["echo", "fail", "env", "slow", "die", "babble", "ask", "unknown", "write"]


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say(**message: object) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}))


def tool(name: str, description: str = "A tool.") -> dict[str, object]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


def hello(params: dict[str, object]) -> dict[str, object]:
    if MODE == "hangs":
        time.sleep(600)
    if MODE == "dies":
        sys.exit(3)
    if MODE == "garbage":
        write("Server listening...")
    if MODE == "asks":
        say(id="a", method="elicitation/create", params={"message": "Who are you?"})
        sys.stderr.write(sys.stdin.readline())
    return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}}


def called(name: str, arguments: dict[str, object]) -> dict[str, object]:
    if name == "slow":
        time.sleep(600)
    if name == "die":
        os._exit(1)
    if name == "babble":
        write("no JSON")
    if name == "ask":
        say(id=1, method="ping")
        say(id=2, method="sampling/createMessage", params={})
        answers = [json.loads(sys.stdin.readline()) for _ in range(2)]
        return {"content": [{"type": "text", "text": json.dumps(answers)}]}
    if name == "env" or ":" in MODE:
        return {"content": [{"type": "text", "text": os.environ.get(str(arguments["of"]), "")}], "isError": False}
    text = json.dumps(arguments) if name == "echo" else "It does not work."
    return {"content": [{"type": "text", "text": text}], "isError": name == "fail"}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message or "id" not in message:
            continue
        number, params = message["id"], message.get("params", {})
        if message["method"] == "initialize":
            say(id=number, result=hello(params))
        elif message["method"] == "tools/list" and "cursor" not in params:
            names = TOOLS if ":" not in MODE else [MODE.partition(":")[2]]
            more = [tool("mute", ""), tool("2 odd!")]
            say(id=number, result={"tools": [*map(tool, names), *more], "nextCursor": "2"})
        elif message["method"] == "tools/list":
            say(id=number, result={"tools": [tool("last")]})
        elif params["name"] == "unknown":
            say(id=number, error={"code": -32602, "message": "no such tool"})
        else:
            say(id=number, result=called(params["name"], params["arguments"]))
    if MODE == "stays":
        time.sleep(600)


main()
