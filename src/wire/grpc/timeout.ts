/**
 * Hot path: `grpc-timeout`, a deadline on the wire: at most 8 digits and a unit.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Timeout).
 */

const nanosecond = 0x6e;
const microsecond = 0x75;
const millisecond = 0x6d;
const second = 0x53;
const minute = 0x4d;
const hour = 0x48;

const valueMax = 99_999_999;
const hourMs = 3_600_000;

/**
 * A timeout in milliseconds as the wire has it: the largest unit that loses nothing, else the smallest that fits into 8
 * digits, rounded down, so that a server never believes in more time than there is. Not above 0 gives "1n" (the wire has no
 * 0), more than 99,999,999 hours give that many; a call without a deadline sends no timeout at all. Throws RangeError for NaN.
 */
export function formatTimeout(ms: number): string {
  if (Number.isInteger(ms) && ms > 0 && ms <= valueMax) return formatWholeMs(ms);
  if (Number.isNaN(ms)) throw new RangeError("a timeout must be a number, got NaN");
  const nanoseconds = Math.floor(ms * 1e6);
  if (nanoseconds < 1) return "1n";
  if (nanoseconds <= valueMax) {
    if (nanoseconds % 1e6 === 0) return formatWholeMs(nanoseconds / 1e6);
    return nanoseconds % 1_000 === 0 ? `${nanoseconds / 1_000}u` : `${nanoseconds}n`;
  }
  const microseconds = Math.floor(ms * 1_000);
  if (microseconds <= valueMax) {
    return microseconds % 1_000 === 0 ? formatWholeMs(microseconds / 1_000) : `${microseconds}u`;
  }
  if (ms < valueMax + 1) return formatWholeMs(Math.floor(ms));
  if (ms / 1_000 < valueMax + 1) return `${Math.floor(ms / 1_000)}S`;
  if (ms / 60_000 < valueMax + 1) return `${Math.floor(ms / 60_000)}M`;
  return `${Math.min(valueMax, Math.floor(ms / hourMs))}H`;
}

/** The milliseconds of a `grpc-timeout`, fractional; undefined if it is malformed (no digit, 9 digits, a sign, another unit). "0S" is 0. */
export function parseTimeout(text: string): number | undefined {
  const length = text.length;
  if (length < 2 || length > 9) return undefined;
  let value = 0;
  for (let i = 0; i < length - 1; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  const ms = inMs(value, text.charCodeAt(length - 1));
  return Number.isNaN(ms) ? undefined : ms;
}

/** As {@link parseTimeout}, of `bytes[start, end)` and without a string; NaN if it is malformed. */
export function parseTimeoutBytes(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length < 2 || length > 9) return NaN;
  let value = 0;
  for (let i = start; i < end - 1; i++) {
    const digit = (bytes[i] as number) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return NaN;
    value = value * 10 + digit;
  }
  return inMs(value, bytes[end - 1] as number);
}

function formatWholeMs(ms: number): string {
  if (ms % 1_000 !== 0) return `${ms}m`;
  if (ms % 60_000 !== 0) return `${ms / 1_000}S`;
  return ms % hourMs === 0 ? `${ms / hourMs}H` : `${ms / 60_000}M`;
}

function inMs(value: number, unit: number): number {
  switch (unit) {
    case nanosecond:
      return value / 1e6;
    case microsecond:
      return value / 1_000;
    case millisecond:
      return value;
    case second:
      return value * 1_000;
    case minute:
      return value * 60_000;
    case hour:
      return value * hourMs;
    default:
      return NaN;
  }
}
