/**
 * Hot path: a call with one request and one reply, as one promise.
 */
import type { RpcError } from "../call/error.ts";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import { endedByCaller } from "./call-error.ts";
import { ClientCall } from "./client-call.ts";
import type { ClientMethod } from "./client-method.ts";
import { fallBack } from "./fall-back.ts";
import type { CallOptions } from "./options.ts";

// The promise's settlers leave its executor through these two: no closure per call of ours.
let settleResolve: (reply: unknown) => void;
let settleReject: (error: unknown) => void;
function takeSettlers(resolve: (reply: unknown) => void, reject: (error: unknown) => void): void {
  settleResolve = resolve;
  settleReject = reject;
}

export class UnaryCall extends ClientCall {
  readonly promise: Promise<unknown>;
  readonly #request: unknown;
  readonly #resolve: (reply: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    channel: ChannelCore,
    method: ClientMethod,
    request: unknown,
    options: CallOptions | undefined,
    nowMs: number,
  ) {
    super(channel, method, options, nowMs);
    this.#request = request;
    this.promise = new Promise(takeSettlers);
    this.#resolve = settleResolve;
    this.#reject = settleReject;
  }

  protected get canSendAgain(): boolean {
    return true;
  }
  get onlyRequest(): { readonly message: unknown } | undefined {
    return { message: this.#request };
  }
  protected sendRequest(attempt: ClientAttempt): void {
    attempt.send(this.#request, true);
  }
  protected answered(_attempt: ClientAttempt): void {
    // The reply decides.
  }
  attemptWritable(): void {
    // There is one request, and it has been sent.
  }
  protected succeeded(attempt: ClientAttempt): void {
    this.report(attempt);
    this.#resolve(attempt.reply);
  }
  protected failed(error: RpcError): void {
    this.report(this.last);
    const { fallback } = this.policy;
    if (fallback === undefined || endedByCaller(error)) this.#reject(error);
    else this.#resolve(fallBack(fallback, error, this.method.plan, this.#request));
  }
}
