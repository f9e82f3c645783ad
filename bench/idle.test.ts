import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectionsAllowed, measureIdle } from "./idle.ts";

const CONNECTIONS = 2_000;
/** Of both sides together. Ten thousand take 64 at the most; among so few, what the processes need for the calls beside counts for more. */
const KIB_MAX = 80;

describe("two thousand connections with nothing to do", () => {
  it("take 80 KiB each at the most, and calls are answered beside them", async (t) => {
    const connections = connectionsAllowed(CONNECTIONS);
    const { clientRssKibPerConnection, serverRssKibPerConnection, p99Ms, error } = await measureIdle(
      "holdfast",
      connections,
      0,
    );
    assert.equal(error, undefined);
    const each = `client ${clientRssKibPerConnection.toFixed(1)} KiB, server ${serverRssKibPerConnection.toFixed(1)} KiB`;
    t.diagnostic(`${connections} connections: ${each}, calls beside: p99 ${p99Ms.toFixed(2)} ms`);
    assert.ok(clientRssKibPerConnection + serverRssKibPerConnection <= KIB_MAX, each);
  });
});
