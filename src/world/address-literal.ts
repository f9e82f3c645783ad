/**
 * Whether a host is written as an address and not as a name, so that nobody needs to be asked what it means.
 */

/** `0` to `255`, without leading zeros: with them some systems read octal. */
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** An IPv4 address in four decimal parts, or anything with a colon: no name has one (RFC 1123, 2.1), every IPv6 address has. */
export function isAddressLiteral(host: string): boolean {
  return host.includes(":") || IPV4.test(host);
}
