/**
 * `createClient`: a client with a channel of its own.
 */
import type { AnyContract } from "../schema/contract.ts";
import { planOf } from "../schema/plan.ts";
import { HoldfastChannel } from "./channel.ts";
import { type Client, makeClient } from "./make-client.ts";
import {
  type ChannelOptions,
  type ClientOptions,
  type ResolvedChannelOptions,
  type ResolvedClientOptions,
  splitOptions,
} from "./options.ts";
import { parseServiceConfig } from "./policy/service-config.ts";
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
  const own = new HoldfastChannel(target, withBalance(channel, contract, client, options));
  return makeClient(contract, own, own.core, client, true);
}

/** A service config may name the balancer, if the channel's options do not. */
function withBalance(
  channel: ResolvedChannelOptions,
  contract: AnyContract,
  { serviceConfig }: ResolvedClientOptions,
  options: ChannelOptions | undefined,
): ResolvedChannelOptions {
  if (serviceConfig === undefined || options?.balance !== undefined) return channel;
  const { balance } = parseServiceConfig(serviceConfig, planOf(contract).name);
  return balance === undefined ? channel : { ...channel, balance };
}
