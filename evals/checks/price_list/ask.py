"""Start the service, ask it for the paths given, and print what it answers as JSON: {path: [status, body]}."""

import json
import re
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

command = [sys.executable, "-u", "-B", "-m", "shop", "--port", "0"]
opener = build_opener(ProxyHandler({}))
answers = {}
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
    try:
        first = service.stdout.readline()
        address = re.search(r"http://[\w.]+:\d+", first)
        if not address:
            sys.exit(f"the service was to print its address first, and printed {first!r}")
        for path in sys.argv[1:]:
            try:
                with opener.open(address[0] + path, timeout=10) as response:
                    answers[path] = [response.status, json.load(response)]
            except HTTPError as error:
                answers[path] = [error.code, None]
    finally:
        service.kill()
print(json.dumps(answers))
