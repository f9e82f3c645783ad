import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import { type PumpOwner, RequestPump } from "./request-pump.ts";

const owner: PumpOwner = {
  isOver: false,
  sourceFailed: (error) => assert.fail(String(error)),
  requestRefused: (error) => assert.fail(String(error)),
};

/** An attempt that takes all it is given; a message is as many bytes as its value says. */
class FakeAttempt {
  readonly canSend: boolean = true;
  isEnded: boolean = false;
  readonly sent: number[] = [];
  readonly ended: Promise<void>;
  readonly endRequests: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.endRequests = resolve;
  }
  send(bytes: number): number {
    this.sent.push(bytes);
    return bytes;
  }
}

/** Sends all requests to a new attempt, which is then lost. */
async function sendAll(pump: RequestPump): Promise<number[]> {
  const attempt = new FakeAttempt();
  pump.start(attempt as unknown as ClientAttempt);
  await attempt.ended;
  attempt.isEnded = true;
  return attempt.sent;
}

function pumpOf(count: number, bytes: number): RequestPump {
  return new RequestPump(owner, new Array<number>(count).fill(bytes));
}

describe("requests are held to be sent again", () => {
  it("up to 1 MiB, to the byte", async () => {
    const fits = pumpOf(1_024, 1_024);
    assert.equal((await sendAll(fits)).length, 1_024);
    assert.equal(fits.canSendAgain, true);
    const isOver = pumpOf(1_025, 1_024);
    assert.equal((await sendAll(isOver)).length, 1_025);
    assert.equal(isOver.canSendAgain, false);
  });

  it("as often as they must be: what is sent again is not counted twice", async () => {
    const pump = pumpOf(700, 1_024);
    for (let attempts = 1; attempts <= 5; attempts++) {
      assert.equal((await sendAll(pump)).length, 700);
      assert.equal(pump.canSendAgain, true, `after ${attempts} attempts`);
    }
  });

  it("not without end if they are empty: each counts its prefix", async () => {
    const count = Math.ceil(1_048_576 / 5) + 1;
    const pump = pumpOf(count, 0);
    assert.equal((await sendAll(pump)).length, count);
    assert.equal(pump.canSendAgain, false);
  });

  it("no longer once the call is committed", async () => {
    const pump = pumpOf(2, 1);
    pump.commit();
    await sendAll(pump);
    assert.equal(pump.canSendAgain, false);
  });
});
