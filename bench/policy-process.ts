/** The process of one measurement of `policy`: one contender, one load. */
import { answerCommands } from "./commands.ts";
import { makeContender, type PolicyContender } from "./policy-contenders.ts";
import { type PolicyFigures, type PolicyLoad, runPolicyLoad } from "./policy-load.ts";

export interface PolicyCommands {
  measure(options: {
    readonly contender: PolicyContender;
    readonly load: PolicyLoad;
    readonly seconds: number;
    readonly warmUpSeconds: number;
  }): Promise<PolicyFigures>;
}

const commands: PolicyCommands = {
  async measure({ contender, load, seconds, warmUpSeconds }) {
    const call = makeContender[contender](() => Promise.resolve(1), 1_000);
    await runPolicyLoad(call, load, warmUpSeconds);
    return runPolicyLoad(call, load, seconds);
  },
};
answerCommands({ ...commands });
