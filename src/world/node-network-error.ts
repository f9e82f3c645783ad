/**
 * What node:net and node:tls say went wrong, as a {@link NetworkError}: in which phase, with which code, in words that
 * name the address.
 */
import type { NetworkError, NetworkPhase, SocketAddress } from "./network.ts";

/** `host:port` with brackets around IPv6, or the Unix path. */
export function addressText(address: SocketAddress): string {
  return address.kind === "tcp" ? hostPort(address.host, address.port) : address.path;
}

/** `127.0.0.1:80`, `[::1]:80`; an IPv4 address that a dual-stack socket wrote as IPv6 (RFC 4291, 2.5.5.2) is IPv4 again. */
export function hostPort(host: string, port: number): string {
  const plain = host.startsWith("::ffff:") && host.includes(".") ? host.slice(7) : host;
  return plain.includes(":") ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/**
 * Maps anything node:net, node:tls or node:dns threw or emitted. `phase` is where the connection stood; a failed
 * look-up is `resolve`, and what OpenSSL says is `tls` also later (in TLS 1.3 a server refuses a client's certificate
 * when the client's handshake is already over).
 */
export function networkErrorOf(error: unknown, phase: NetworkPhase, target: string): NetworkError {
  const fields = fieldsOf(error);
  const message = messageOf(error, target);
  return {
    phase: phaseOf(fields, phase),
    code: fields.code,
    text: message.includes(target) ? message : `${target}: ${message}`,
    cause: error,
  };
}

/** The Error that `listen` rejects with: names address, phase and cause. */
export function listenError(error: unknown, phase: NetworkPhase, target: string): Error {
  const cause = networkErrorOf(error, phase, target);
  return new Error(`cannot listen on ${target} (phase ${cause.phase}): ${messageOf(error, target)}`, { cause });
}

interface ErrorFields {
  readonly code: string;
  readonly syscall: string;
  readonly address: string;
  readonly port: number;
}

function fieldsOf(error: unknown): ErrorFields {
  const from =
    typeof error === "object" && error !== null ? (error as Partial<Record<keyof ErrorFields, unknown>>) : {};
  return {
    code: typeof from.code === "string" ? from.code : "UNKNOWN",
    syscall: typeof from.syscall === "string" ? from.syscall : "",
    address: typeof from.address === "string" ? from.address : "",
    port: typeof from.port === "number" ? from.port : 0,
  };
}

function phaseOf(fields: ErrorFields, phase: NetworkPhase): NetworkPhase {
  if (fields.syscall === "getaddrinfo") return "resolve";
  if (fields.code.startsWith("ERR_SSL_") || fields.code.startsWith("ERR_TLS_")) return "tls";
  return phase;
}

function messageOf(error: unknown, target: string): string {
  // Happy eyeballs tried several addresses (RFC 8305); its own message is empty.
  if (error instanceof AggregateError) {
    const tries = error.errors.map((each) => {
      const { code, address, port } = fieldsOf(each);
      return address === "" ? messageOf(each, target) : `${hostPort(address, port)} ${code}`;
    });
    return `no address of ${target} could be reached: ${tries.join(", ")}`;
  }
  if (!(error instanceof Error)) return String(error);
  // OpenSSL's own message is a dump of its error queue, with its source files and lines.
  const { reason } = error as { readonly reason?: unknown };
  if (typeof reason === "string" && reason !== "") return `${reason} (${fieldsOf(error).code})`;
  return error.message !== "" ? error.message : String(error);
}
