/**
 * TLS as far as a simulation needs it: one more round trip that both processes take part in, ALPN, and who proved to
 * be whom. Nothing is encrypted and no certificate is read; what a host can prove is told to the simulation by name.
 */
import type { ServerTlsOptions, TlsFacts } from "../world/network.ts";

/** What a client's first flight says. */
export interface TlsHello {
  readonly alpn: readonly string[];
  /** What the client's certificate proves; undefined without one. */
  readonly identities: readonly string[] | undefined;
}

/** What a server makes of it. */
export type TlsAnswer =
  | { readonly kind: "facts"; readonly forServer: TlsFacts; readonly forClient: TlsFacts }
  | { readonly kind: "refusal"; readonly code: string };

/** The server's side of the handshake. ALPN: the server's order decides; no common protocol is an error (RFC 7301). */
export function answerHello(
  hello: TlsHello,
  options: ServerTlsOptions,
  alpn: readonly string[],
  serverIdentities: readonly string[],
): TlsAnswer {
  const common = alpn.find((name) => hello.alpn.includes(name));
  if (common === undefined && alpn.length > 0 && hello.alpn.length > 0) {
    return { kind: "refusal", code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" };
  }
  if (options.clientCert === "require" && hello.identities === undefined) {
    return { kind: "refusal", code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" };
  }
  const clientIdentities = options.clientCert === "none" ? [] : (hello.identities ?? []);
  return {
    kind: "facts",
    forServer: { protocol: "TLSv1.3", alpn: common, identities: clientIdentities },
    forClient: { protocol: "TLSv1.3", alpn: common, identities: serverIdentities },
  };
}

/** What a listener without TLS reads when a client begins a handshake: the start of a TLS record, then noise. */
export const clientHelloBytes: Buffer = Buffer.concat([
  Buffer.from([0x16, 0x03, 0x01, 0x00, 0xc8, 0x01]),
  Buffer.alloc(199),
]);
