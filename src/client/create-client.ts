/**
 * `createClient`: a client with a channel of its own.
 */
import type { AnyContract } from "../schema/contract.ts";
import { HoldfastChannel } from "./channel.ts";
import { type Client, makeClient } from "./make-client.ts";
import { type ChannelOptions, type ClientOptions, splitOptions } from "./options.ts";
import type { Target } from "./target.ts";

/**
 * A client over a channel of its own, closed with the client. Does no I/O: nothing connects before the first call.
 * TypeError or RangeError for what is no contract, target or option.
 */
export function createClient<C extends AnyContract>(
  contract: C,
  target: Target,
  options?: ClientOptions<NoInfer<C>> & ChannelOptions,
): Client<C> {
  const { client, channel } = splitOptions(options);
  const own = new HoldfastChannel(target, channel);
  return makeClient(contract, own, own.core, client, true);
}
