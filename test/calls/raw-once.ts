/**
 * A unary call of the probe service written by hand, on a connection of its own: with an id or none, as a repeat, for a store.
 */
import { framed, rawClient } from "./raw-peer.ts";

export interface RawOnce {
  /** `holdfast-call-id`; undefined: as another gRPC client sends it, without. */
  readonly id: string | undefined;
  /** The message; {@link probeRequest} makes one. */
  readonly payload: Uint8Array;
  readonly store?: string | undefined;
  readonly isRepeat?: boolean | undefined;
  /** Default Unary. */
  readonly method?: string | undefined;
}

export interface RawOnceAnswer {
  /** Headers and trailers. */
  readonly fields: Readonly<Record<string, string | undefined>>;
  /** The bytes of the reply, in hex. */
  readonly payload: string;
}

/** A request of the probe service with this body, of up to 127 bytes. */
export function probeRequest(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x0a, text.length]), Buffer.from(text, "latin1")]);
}

export async function rawCall(
  address: string,
  { id, payload, store, isRepeat, method = "Unary" }: RawOnce,
): Promise<RawOnceAnswer> {
  await using client = await rawClient(address);
  const answer = await client.request(`/holdfast.interop.v1.Probe/${method}`, framed(payload), {
    ...(id === undefined ? {} : { "holdfast-call-id": id }),
    ...(store === undefined ? {} : { "holdfast-dedup": store }),
    ...(isRepeat === true ? { "grpc-previous-rpc-attempts": "1" } : {}),
  });
  const fields = { ...answer.header, ...answer.trailer } as Readonly<Record<string, string | undefined>>;
  return { fields, payload: answer.body.toString("hex") };
}
