import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createChannel } from "holdfast";
import type { Resolver } from "holdfast/discover";
import { createCluster } from "holdfast/testing";
import { failureOf, Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { createSwitches } from "./switches.ts";

describe("a channel that was closed", () => {
  it("listens no more to switches that live longer", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const switches = createSwitches({ world: cluster.world });
    const onChange = switches.onChange.bind(switches);
    let listeners = 0;
    Object.defineProperty(switches, "onChange", {
      value: (listener: () => void) => {
        const stop = onChange(listener);
        listeners += 1;
        return () => {
          listeners -= 1;
          stop();
        };
      },
    });
    const target = cluster.target("shop");
    const channels = Array.from({ length: 3 }, () =>
      createChannel(target, { world: cluster.world, plaintext: true, switches }),
    );
    assert.equal(listeners, 3);
    for (const channel of channels) await cluster.settle(channel.close());
    assert.equal(listeners, 0);
    await cluster.settle(channels[0]?.close() ?? Promise.resolve());
    assert.equal(listeners, 0);
  });

  it("dials nobody and watches no resolver, whoever asks for readiness then", async () => {
    await using cluster = createCluster();
    let watches = 0;
    const resolver: Resolver = {
      name: "counted",
      async *watch() {
        watches += 1;
        yield [];
      },
    };
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true });
    await cluster.settle(channel.close());
    assert.equal((await cluster.settle(failureOf(channel.ready()))).reason, "CLIENT_CLOSED");
    assert.equal((await cluster.settle(failureOf(channel.client(Probe).unary({})))).reason, "CLIENT_CLOSED");
    await cluster.advance(60_000);
    assert.equal(watches, 0);
  });
});
