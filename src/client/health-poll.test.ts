import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { HealthPoll, type HealthVote } from "./health-poll.ts";

const votes = fc.constantFrom<HealthVote>("absent", "present", "denied");

it("NOT_SERVING is forgotten exactly while it may be and more than half of the connected say it, and each change is told", () => {
  const changes = fc.array(fc.record({ peer: fc.nat(6), vote: votes, mayForget: fc.boolean() }), { maxLength: 100 });
  fc.assert(
    fc.property(changes, (list) => {
      const poll = new HealthPoll();
      const model: HealthVote[] = Array.from({ length: 7 }, () => "absent");
      for (const { peer, vote, mayForget } of list) {
        const before = poll.isForgetting;
        const isTold = poll.changed(model[peer] as HealthVote, vote);
        model[peer] = vote;
        const connected = model.filter((each) => each !== "absent").length;
        const denied = model.filter((each) => each === "denied").length;
        assert.equal(isTold, before !== poll.isForgetting);
        const between = poll.isForgetting;
        const isToldAgain = poll.allow(mayForget);
        assert.equal(isToldAgain, between !== poll.isForgetting);
        assert.equal(poll.isForgetting, mayForget && denied > connected / 2);
      }
    }),
  );
});
