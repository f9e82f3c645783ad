/** gRPC's interop cases, with grpc-go on the other side. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { runGoClient, startGoServer } from "../peers/go.ts";
import { goProgram, hasProgram, skipWithout } from "../peers/tools.ts";
import { interopCases } from "./cases.ts";
import { type Certificates, createCertificates } from "./certificates.ts";
import { limitedClient, limitedServer } from "./in-time.ts";
import type { CallingPeer, PeerClient, PeerServer, ServingPeer } from "./peer.ts";

/** The policy of grpc-go's client that hands load reports to the case. */
const LOAD_REPORTS = '-service_config_json={"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}';

/** What grpc-go's client runs against any server without a cloud. */
const GO_CASES: Readonly<Record<string, readonly string[]>> = {
  empty_unary: [],
  large_unary: [],
  client_streaming: [],
  server_streaming: [],
  ping_pong: [],
  empty_stream: [],
  timeout_on_sleeping_server: [],
  cancel_after_begin: [],
  cancel_after_first_response: [],
  status_code_and_message: [],
  special_status_message: [],
  custom_metadata: [],
  unimplemented_method: [],
  unimplemented_service: [],
  pick_first_unary: [],
  rpc_soak: ["-soak_iterations=100", "-soak_num_threads=4"],
  channel_soak: ["-soak_iterations=20", "-soak_num_threads=2"],
  orca_per_rpc: [LOAD_REPORTS],
  orca_oob: [LOAD_REPORTS],
};
const OVER_TLS = ["empty_unary", "large_unary", "ping_pong", "custom_metadata", "cancel_after_first_response"];
const skip = skipWithout(
  hasProgram(goProgram("interop-client")) && hasProgram(goProgram("interop-server")),
  "test/peers/build.sh go",
);

/** grpc-go's client calls `server`. */
export function goClientSuite(server: ServingPeer): void {
  for (const isSecure of [false, true]) {
    describe(`grpc-go's client calls ${server.name}${isSecure ? " over TLS" : ""}`, { skip }, () => {
      let certificates: Certificates | undefined;
      let running: PeerServer | undefined;
      before(async () => {
        certificates = isSecure ? createCertificates() : undefined;
        running = limitedServer(await server.startServer({ tls: certificates?.server }));
      });
      after(async () => {
        await running?.close();
        certificates?.dispose();
      });
      for (const [name, flags] of Object.entries(GO_CASES)) {
        if (isSecure && !OVER_TLS.includes(name)) continue;
        it(name, async () => {
          const { code, output } = await runGoClient(name, running?.port ?? 0, certificates?.client, flags);
          assert.equal(code, 0, output);
        });
      }
    });
  }
}

/** `client` calls grpc-go's server. */
export function goServerSuite(client: CallingPeer): void {
  for (const isSecure of [false, true]) {
    describe(`${client.name} calls grpc-go's server${isSecure ? " over TLS" : ""}`, { skip }, () => {
      let certificates: Certificates | undefined;
      let server: PeerServer | undefined;
      let calling: PeerClient | undefined;
      before(async () => {
        certificates = isSecure ? createCertificates() : undefined;
        server = await startGoServer({ tls: certificates?.server });
        calling = limitedClient(await client.createClient({ port: server.port, tls: certificates?.client }));
      });
      after(async () => {
        await calling?.close();
        await server?.close();
        certificates?.dispose();
      });
      for (const [name, run] of Object.entries(interopCases)) {
        if (isSecure && !OVER_TLS.includes(name)) continue;
        it(name, async () => {
          assert.ok(calling !== undefined);
          await run(calling);
        });
      }
    });
  }
}
