import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "../../test/calls/bench-service.ts";
import { answerGrpc, framed, rawServer } from "../../test/calls/raw-peer.ts";
import { createClient } from "./create-client.ts";

const FIVE = framed(Buffer.from([8, 5]));
const OK = { "grpc-status": "0" };

/** So many calls at once, so many times, at a peer that refuses each stream and one that answers: how many streams each got. */
async function callBoth(
  atOnce: number,
  times: number,
): Promise<{ refused: number; answered: number; throttled: number }> {
  await using refusing = await rawServer((stream) => stream.close(7));
  await using well = await rawServer((stream) => answerGrpc(stream, FIVE, OK));
  await using client = createClient(Bench, [refusing.address, well.address]);
  let throttled = 0;
  using _listener = client.$on("throttled", () => (throttled += 1));
  // Both are connected, so that the first calls are for both.
  while (client.$channel.peers().some(({ health }) => health !== "ready")) await client.add({});
  const before = well.requests.length;
  for (let time = 0; time < times; time++) {
    const replies = await Promise.all(Array.from({ length: atOnce }, () => client.add({})));
    assert.ok(replies.every(({ result }) => result === 5));
  }
  await client.$close({ timeoutMs: 0 });
  return { refused: refusing.requests.length, answered: well.requests.length - before, throttled };
}

describe("a peer that refuses each stream at once", () => {
  it("does not look like the fastest", async () => {
    const { refused, answered } = await callBoth(4, 40);
    assert.equal(answered, 160);
    assert.ok(refused > 0 && refused < 40, `${refused} streams were refused`);
  });

  it("is no reason to throttle a service whose other peer takes all calls", async () => {
    const { refused, answered, throttled } = await callBoth(80, 1);
    assert.equal(answered, 80);
    assert.ok(refused >= 1 && refused < 40, `${refused} streams were refused`);
    assert.equal(throttled, 0);
  });

  it("is left alone for a moment after each refusal, for servers end connections on which they must refuse too much", async () => {
    const { refused } = await callBoth(40, 30);
    assert.ok(refused <= 60, `${refused} streams were refused`);
  });
});
