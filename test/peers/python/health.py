"""A health service over Debian's grpcio, its messages made by hand: `health.py` prints its port.

Each line on stdin is the number of a status, which all Watches are told. A service other than "shop.v1.Shop" is not known.
"""

import queue
import sys
import threading
from concurrent import futures

import grpc

SERVICE_UNKNOWN = 3
lock = threading.Lock()
watches = []
status = 1


def message(number):
    return bytes([8, number])


def watch(request, context):
    changes = queue.Queue()
    context.add_callback(lambda: changes.put(None))
    with lock:
        # HealthCheckRequest.service, field 1.
        if request[2:] != b"shop.v1.Shop":
            changes.put(SERVICE_UNKNOWN)
        else:
            watches.append(changes)
            changes.put(status)
    while (number := changes.get()) is not None:
        yield message(number)


def check(_request, _context):
    return message(status)


def main():
    global status
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(check),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    for line in sys.stdin:
        with lock:
            status = int(line)
            for changes in watches:
                changes.put(status)
    server.stop(None).wait()


main()
