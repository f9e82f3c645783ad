/**
 * The Retry-After field of HTTP (RFC 9110 section 10.2.3): seconds, or a date in one of the three forms of section 5.6.7.
 */

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/** More digits are no number of seconds that anybody waits for. */
const SECONDS = /^\d{1,9}$/;
/** Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT; Sun Nov  6 08:49:37 1994. */
const IMF_DATE = /^[a-z]{3}, (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) gmt$/;
const RFC850_DATE = /^[a-z]{6,9}, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$/;
const ASCTIME_DATE = /^[a-z]{3} ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;
const DAY_MS = 86_400_000;

/** Milliseconds from `wallMs` on, 0 for what is past; undefined for what is neither seconds nor a date. */
export function retryAfterMs(field: string, wallMs: number): number | undefined {
  const text = field.trim().toLowerCase();
  if (SECONDS.test(text)) return Number(text) * 1_000;
  const dateMs = dateOf(text, wallMs);
  return dateMs === undefined ? undefined : Math.max(0, dateMs - wallMs);
}

function dateOf(text: string, wallMs: number): number | undefined {
  const imf = IMF_DATE.exec(text);
  if (imf !== null) return epochMs(imf[3], imf[2], imf[1], imf.slice(4));
  const asctime = ASCTIME_DATE.exec(text);
  if (asctime !== null) return epochMs(asctime[6], asctime[1], asctime[2], asctime.slice(3, 6));
  const rfc850 = RFC850_DATE.exec(text);
  if (rfc850 === null) return undefined;
  return epochMs(String(fullYear(Number(rfc850[3]), wallMs)), rfc850[2], rfc850[1], rfc850.slice(4));
}

/** Two digits mean the past if they would lie more than fifty years ahead. */
function fullYear(digits: number, wallMs: number): number {
  const now = 1970 + Math.floor(wallMs / (365.2425 * DAY_MS));
  const year = now - (now % 100) + digits;
  return year > now + 50 ? year - 100 : year;
}

function epochMs(
  year: string | undefined,
  monthName: string | undefined,
  day: string | undefined,
  time: readonly string[],
): number | undefined {
  const month = MONTHS.indexOf(monthName ?? "");
  const [hour = 0, minute = 0, second = 0] = time.map(Number);
  const dayOfMonth = Number(day);
  // A leap second is the 60th.
  if (month < 0 || dayOfMonth < 1 || dayOfMonth > 31 || hour > 23 || minute > 59 || second > 60) return undefined;
  return daysFromEpoch(Number(year), month, dayOfMonth) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar, the year counted from March (Hinnant, "chrono-compatible low-level date algorithms"). */
function daysFromEpoch(year: number, month: number, day: number): number {
  const marchYear = month < 2 ? year - 1 : year;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 10) % 12) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
