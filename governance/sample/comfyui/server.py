import asyncio
import inspect
import json
import logging
import os
import socket
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import folder_paths
import nodes
from comfyui_version import __version__


class Routes:
    """What nodes decorate their functions with; a result is sent as JSON."""

    def __init__(self):
        self.table = {}

    def get(self, path):
        return self._adder("GET", path)

    def post(self, path):
        return self._adder("POST", path)

    def _adder(self, method, path):
        def add(function):
            self.table[method, path] = function
            return function

        return add


class PromptServer:
    instance = None

    def __init__(self):
        PromptServer.instance = self
        os.makedirs(folder_paths.get_user_directory(), exist_ok=True)
        self.routes = Routes()
        self.running = []
        self.pending = []
        logging.info(f"[Prompt Server] web root: {os.path.join(os.path.dirname(__file__), 'web')}")

    def add_routes(self):
        own = self.routes.table
        own["GET", "/"] = lambda request: "<!DOCTYPE html><title>ComfyUI</title>"
        own["GET", "/system_stats"] = system_stats
        own["GET", "/object_info"] = object_info
        own["GET", "/queue"] = self.queue
        own["GET", "/prompt"] = lambda request: {"exec_info": {"queue_remaining": len(self.pending)}}

    def queue(self, request):
        return {"queue_running": self.running, "queue_pending": self.pending}

    def start_multi_address(self, addresses, port, verbose=True):
        if verbose:
            logging.info("Starting server\n")
        for address in addresses:
            server = WebServer(address, port)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            if verbose:
                shown = f"[{address}]" if ":" in address else address
                logging.info(f"To see the GUI go to: http://{shown}:{port}")


def system_stats(request):
    return {
        "system": {
            "os": os.name,
            "comfyui_version": __version__,
            "python_version": sys.version,
            "pytorch_version": "sample",
            "embedded_python": False,
            "argv": sys.argv,
        },
        "devices": [{"name": "cpu", "type": "cpu", "index": None}],
    }


def object_info(request):
    described = {}
    for name in list(nodes.NODE_CLASS_MAPPINGS):
        try:
            described[name] = node_info(name)
        except Exception:
            logging.error(f"[ERROR] An error occurred while retrieving information for the '{name}' node.")
            logging.error(traceback.format_exc())
    return described


def node_info(name):
    node = nodes.NODE_CLASS_MAPPINGS[name]
    if hasattr(node, "GET_SCHEMA"):
        schema = node.GET_SCHEMA()
        inputs, outputs, category = {"required": dict(schema.inputs)}, schema.outputs, schema.category
    else:
        inputs, outputs = node.INPUT_TYPES(), node.RETURN_TYPES
        category = getattr(node, "CATEGORY", "sd")
    return {
        "input": inputs,
        "input_order": {key: list(value) for key, value in inputs.items()},
        "output": outputs,
        "output_is_list": getattr(node, "OUTPUT_IS_LIST", [False] * len(outputs)),
        "output_name": getattr(node, "RETURN_NAMES", outputs),
        "name": name,
        "display_name": nodes.NODE_DISPLAY_NAME_MAPPINGS.get(name, name),
        "description": getattr(node, "DESCRIPTION", ""),
        "python_module": getattr(node, "RELATIVE_PYTHON_MODULE", "nodes"),
        "category": category,
        "output_node": getattr(node, "OUTPUT_NODE", False),
    }


class WebServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, port):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Answer)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Not HTTPServer's own, which would look up the host's name.
        TCPServer.server_bind(self)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.answer("GET")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer("POST")

    def answer(self, method):
        path = self.path.partition("?")[0].removeprefix("/api")
        function = PromptServer.instance.routes.table.get((method, path))
        if function is None:
            self.send(404, "404: Not Found", "text/plain")
            return
        try:
            result = function(self)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            text = result if isinstance(result, str) else json.dumps(result)
        except Exception:
            logging.error(traceback.format_exc())
            self.send(500, "500 Internal Server Error", "text/plain")
            return
        if isinstance(result, str):
            self.send(200, text, "text/html")
        else:
            self.send(200, text, "application/json")

    def send(self, status, text, kind):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
