#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Google on loopback: metadata server, IAM Credentials, token endpoint, certificates, an application behind IAP.

Prints one line of JSON with its addresses once it is ready; ends on SIGTERM, SIGINT or, with --stdin, when its
standard input ends. The control path is documented where it is made: control.py, faults.py, and
Settings in world.py.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True          # a demo leaves nothing behind, not even in the source tree

import faults
import front
import keys
import wire
from certs import Certificates
from control import Control
from iam import IamCredentials
from iam_v1 import IamV1
from iap import CREDENTIALS, ProtectedApplication, without_credentials
from metadata import MetadataServer
from places import PLACES
from token_endpoint import TokenEndpoint
from world import Settings, World


def parse_arguments():
    parser = argparse.ArgumentParser(description="Google on loopback, for tests.")
    parser.add_argument("--dir", help="where ca.pem goes; a temporary directory where not given")
    parser.add_argument("--stdin", action="store_true", help="end when standard input ends")
    parser.add_argument("--metadata-address", default="127.0.0.1")
    parser.add_argument("--metadata-port", type=int, default=0)
    parser.add_argument("--at", action="append", default=[], type=service_at, metavar="SERVICE=ADDRESS:PORT",
                        help="where an https service is; 127.0.0.1 and any port where not given")
    parser.add_argument("--front", metavar="ADDRESS", help="all of it under Google's names, too, at its port 443")
    parser.add_argument("--place", choices=PLACES, default="gce", help="where the machine is")
    parser.add_argument("--email")
    parser.add_argument("--project", default=Settings.project)
    return parser.parse_args()


def service_at(text):
    name, _, place = text.partition("=")
    address, _, port = place.rpartition(":")
    return name, (address, int(port))


class Emulator:
    def __init__(self, directory, settings, places=()):
        self._places = dict(places)
        self._world = world = World(settings)
        self._authority = keys.Authority("gce-oidc-agent test CA")
        self.ca_file = os.path.join(directory, "ca.pem")
        with open(self.ca_file, "w", encoding="ascii") as file:
            file.write(self._authority.pem())
        services = [MetadataServer(world), IamCredentials(world), TokenEndpoint(world), Certificates(world),
                    ProtectedApplication(world)]
        old = IamV1(world)      # under its own name only
        self._listeners = {}
        for service in services:
            contexts = None
            if service.name != "metadata":
                contexts = keys.server_contexts(directory, self._authority)
            self._listeners[service.name] = wire.Listener(
                service.name, self._exchange_with(service), service.bad_request, contexts)
        control = Control(world, {service.name: service for service in services}, self._listeners)
        self._control = wire.Listener("control", self._steer_with(control), control.bad_request)
        at_home = front.Front({service.name: self._exchange_with(service) for service in [*services, old]})
        self._front = wire.Listener("front", at_home.exchange, at_home.bad_request,
                                    {"right": keys.named_context(directory, self._authority, front.NAMES)})

    async def start(self, metadata_address, metadata_port, front_address=None):
        for name, listener in self._listeners.items():
            if name == "metadata":
                await listener.start(metadata_address, metadata_port)
            else:
                address, port = self._places.get(name, ("127.0.0.1", 0))
                await listener.start(address, port, next_certificate=lambda name=name: self._world.take_certificate(name))
        await self._control.start()
        if front_address:
            await self._front.start(front_address, 443)
        return self._announcement(metadata_address)

    def stop(self):
        for listener in [*self._listeners.values(), self._control, self._front]:
            listener.stop()

    def _announcement(self, metadata_address):
        settings = self._world.settings
        address = f"[{metadata_address}]" if ":" in metadata_address else metadata_address
        tls = {name: f"https://{self._places.get(name, ('localhost',))[0]}:{listener.port}"
               for name, listener in self._listeners.items()}
        return {
            "metadata": f"http://{address}:{self._listeners['metadata'].port}",
            "iam": tls["iam"],
            "token-endpoint": tls["token-endpoint"] + "/token",
            "certs": tls["certs"] + "/oauth2/v3/certs",
            "app": tls["app"],
            "ca-file": self.ca_file,
            "names": front.NAMES,
            "other-universe": front.UNIVERSE,
            "control": f"http://127.0.0.1:{self._control.port}",
            "email": settings.email,
            "unique-id": settings.unique_id,
            "project": settings.project,
            "iap-client-id": settings.iap_client_id,
        }

    def _exchange_with(self, service):
        async def exchange(connection, request):
            # What an application may have been handed must not lie about in its records.
            headers = without_credentials(request.headers) if service.name == "app" else request.headers
            record = self._world.record(service.name, request, headers)
            for name, value in request.headers:
                if name.lower() in CREDENTIALS:
                    self._world.remember("bearer", value.partition(" ")[2])
            fault = self._world.take_fault(service.name, request)
            this = faults.Exchange(service, request, connection, record)
            if fault is not None:
                await fault.perform(this)
            else:
                await this.send(await this.normal())
        return exchange

    @staticmethod
    def _steer_with(control):
        async def exchange(connection, request):
            await connection.send(request, await control.answer(request))
        return exchange


async def run(arguments, directory):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.stdin:
        # A thread, because not everything that can be standard input can be polled.
        threading.Thread(target=wait_for_end_of_input, args=(loop, stop), daemon=True).start()
    settings = Settings(place=arguments.place, project=arguments.project,
                        **{**PLACES[arguments.place].settings, **({"email": arguments.email} if arguments.email else {})})
    emulator = Emulator(directory, settings, arguments.at)
    announcement = await emulator.start(arguments.metadata_address, arguments.metadata_port, arguments.front)
    print(json.dumps(announcement), flush=True)
    await stop.wait()
    emulator.stop()


def wait_for_end_of_input(loop, stop):
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


def main():
    arguments = parse_arguments()
    directory = arguments.dir or tempfile.mkdtemp(prefix="gce-oidc-emulator.")
    try:
        asyncio.run(run(arguments, directory))
    finally:
        if not arguments.dir:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
