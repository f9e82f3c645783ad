/**
 * A call with many requests and one reply.
 */
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import type { CallOptions } from "./options.ts";
import { type PumpOwner, RequestPump } from "./request-pump.ts";
import { UnaryCall } from "./unary-call.ts";
import type { RpcError } from "../call/error.ts";

export class ClientStreamCall extends UnaryCall implements PumpOwner {
  readonly #pump: RequestPump;

  constructor(
    channel: ChannelCore,
    method: ClientMethod,
    requests: AsyncIterable<unknown> | Iterable<unknown>,
    options: CallOptions | undefined,
    nowMs: number,
  ) {
    super(channel, method, undefined, options, nowMs);
    this.#pump = new RequestPump(this, requests);
  }

  protected override get canSendAgain(): boolean {
    return this.#pump.canSendAgain;
  }
  override get onlyRequest(): undefined {
    return undefined;
  }
  protected override sendRequest(attempt: ClientAttempt): void {
    this.#pump.start(attempt);
  }
  protected override answered(_attempt: ClientAttempt): void {
    this.#pump.commit();
  }
  override attemptWritable(): void {
    this.#pump.writable();
  }
  sourceFailed(error: unknown): void {
    this.endWith("CANCELLED", "the stream of requests threw", "CANCELLED_BY_CALLER", error);
  }
  requestRefused(error: unknown): void {
    this.rejectRequest(error);
  }
  protected override succeeded(attempt: ClientAttempt): void {
    this.#pump.stop();
    super.succeeded(attempt);
  }
  protected override failed(error: RpcError): void {
    this.#pump.stop();
    super.failed(error);
  }
}
