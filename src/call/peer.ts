/**
 * The other side of a connection: one replica of a service, or one client of ours.
 */

/** One replica, as discovery announced it and TLS proved it. */
export interface Peer {
  /** Stable across reconnects; a restarted replica has a new one if its resolver says so, else its address. */
  readonly id: string;
  /** `host:port`, or a Unix socket's path. */
  readonly address: string;
  readonly zone: string | undefined;
  readonly version: string | undefined;
  /** Names proven by mutual TLS: SPIFFE or DNS, or `CN=name` of a certificate without either. Empty without it. */
  readonly identities: readonly string[];
}
