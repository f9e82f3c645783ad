/**
 * Addresses as channelz has them: bytes and a port, or a path.
 */

type DebugAddress =
  | { case: "tcpipAddress"; value: { ipAddress: Uint8Array<ArrayBuffer>; port: number } }
  | { case: "udsAddress"; value: { filename: string } }
  | { case: "otherAddress"; value: { name: string } };

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
const IPV6_BYTES = 16;

/** Of `host:port`, `[::1]:443`, `unix:/path` or a path; undefined where there is no address. A name is told as it is. */
export function debugAddress(text: string): { address: DebugAddress } | undefined {
  if (text === "") return undefined;
  if (text.startsWith("unix:")) return uds(text.slice("unix:".length));
  if (text.startsWith("/")) return uds(text);
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(0, colon)).replace(/^\[(.*)\]$/, "$1");
  const port = text.slice(colon + 1);
  const ipAddress = ipv4(host) ?? ipv6(host);
  if (ipAddress === undefined || !/^\d{1,5}$/.test(port)) {
    return { address: { case: "otherAddress", value: { name: text } } };
  }
  return { address: { case: "tcpipAddress", value: { ipAddress, port: Number(port) } } };
}

function uds(filename: string): { address: DebugAddress } {
  return { address: { case: "udsAddress", value: { filename } } };
}

function ipv4(host: string): Uint8Array<ArrayBuffer> | undefined {
  const parts = IPV4.exec(host)?.slice(1).map(Number);
  return parts?.every((part) => part <= 255) === true ? Uint8Array.from(parts) : undefined;
}

/** RFC 4291, 2.2: groups of 16 bits, one run of zeros as `::`, the last two perhaps as IPv4; a zone is left out. */
function ipv6(host: string): Uint8Array<ArrayBuffer> | undefined {
  const halves = (host.split("%")[0] as string).split("::");
  if (!host.includes(":") || halves.length > 2) return undefined;
  const [head, tail = []] = halves.map(bytesOf);
  if (head === undefined || tail === undefined) return undefined;
  const zeros = IPV6_BYTES - head.length - tail.length;
  if (halves.length === 1 ? zeros !== 0 : zeros < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(zeros).fill(0), ...tail]);
}

function bytesOf(groups: string): number[] | undefined {
  if (groups === "") return [];
  const bytes: number[] = [];
  for (const group of groups.split(":")) {
    const four = ipv4(group);
    if (four !== undefined) {
      bytes.push(...four);
    } else if (/^[\da-f]{1,4}$/i.test(group)) {
      const number = Number.parseInt(group, 16);
      bytes.push(number >> 8, number & 0xff);
    } else {
      return undefined;
    }
  }
  return bytes;
}
