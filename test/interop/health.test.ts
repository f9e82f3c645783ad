/** The health Watch against health services of grpc-js and of grpcio (C-core). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient } from "holdfast";
import { Health } from "../../src/schema/gen/grpc/health/v1/health_pb.ts";
import { grpcJsHealth, type HealthPeer, pythonHealth, SHOP } from "../peers/health.ts";
import { findPython } from "../peers/python.ts";
import { skipWithout } from "../peers/tools.ts";

const NOT_SERVING = 2;
const SERVING = 1;

function suite(name: string, start: () => Promise<HealthPeer>, skip: string | false): void {
  describe(`the health of ${name}`, { skip }, () => {
    it("decides which of two peers is called, there and back, and all are called when all deny to serve", async () => {
      await using left = await start();
      await using right = await start();
      const client = createClient(Health, [left.address, right.address], {
        health: { service: SHOP },
        balance: "round-robin",
      });
      const turns = new Map<string, (() => void)[]>();
      client.$on("peer.changed", ({ peer, health }) => {
        for (const resolve of turns.get(`${peer.address} ${health}`)?.splice(0) ?? []) resolve();
      });
      const turned = (peer: HealthPeer, health: string): Promise<void> =>
        new Promise((resolve) => {
          const key = `${peer.address} ${health}`;
          turns.set(key, [...(turns.get(key) ?? []), resolve]);
        });
      const servedBy = async (): Promise<readonly string[]> => {
        const addresses = new Set<string>();
        for (let i = 0; i < 10; i++)
          await client.check({}, { onReply: ({ peer }) => addresses.add(peer?.address ?? "") });
        return [...addresses].sort();
      };
      const begun = [turned(left, "ready"), turned(right, "ready")];
      await client.check({});
      await Promise.all(begun);

      const denied = turned(left, "not-serving");
      left.say(NOT_SERVING);
      await denied;
      assert.deepEqual(await servedBy(), [right.address]);

      const allDenied = turned(right, "not-serving");
      right.say(NOT_SERVING);
      await allDenied;
      assert.ok((await servedBy()).includes(right.address));

      const back = turned(left, "ready");
      left.say(SERVING);
      await back;
      assert.deepEqual(await servedBy(), [left.address]);
      await client.$close();
    });

    it("of a service that it does not know keeps nobody from calling the only server", async () => {
      await using peer = await start();
      const client = createClient(Health, peer.address, { health: { service: "other" } });
      await client.check({});
      const [{ health, why } = { health: "", why: "" }] = client.$channel.peers();
      assert.equal(health, "not-serving");
      assert.match(why, /^its health service says SERVICE_UNKNOWN of other; called all the same/);
      await client.$close();
    });
  });
}

suite("grpc-js", grpcJsHealth, false);
suite("python3-grpcio", pythonHealth, skipWithout(findPython() !== undefined, "test/peers/build.sh python"));
