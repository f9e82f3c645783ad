/**
 * The names a verified certificate proves, read from the text that node:crypto makes of its subject alternative names:
 * `DNS:a.example, URI:spiffe://x/y, IP Address:10.0.0.1`, where a value with a comma, quote or control character is
 * written as a JSON string (since CVE-2021-44532), so that a value cannot pretend to be two names.
 */

/**
 * The URI and DNS names in `text`, URIs first, each once, in the certificate's order. A text that cannot be read proves
 * nothing: the result is empty.
 */
export function certificateNames(text: string | undefined): readonly string[] {
  if (text === undefined || text === "") return [];
  const entries = entriesOf(text);
  const names = new Set<string>();
  for (const prefix of ["URI:", "DNS:"]) {
    for (const entry of entries) {
      if (entry.startsWith(prefix) && entry.length > prefix.length) names.add(entry.slice(prefix.length));
    }
  }
  return [...names];
}

/** A JSON string at the start of a text (RFC 8259, section 7). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not stand unescaped in a JSON string.
const JSON_STRING = /^"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/;

/** Splits at `, ` outside of quoted values; each entry has its value unquoted. Empty if a quote is left open. */
function entriesOf(text: string): readonly string[] {
  const entries: string[] = [];
  let rest = text;
  for (;;) {
    const colon = rest.indexOf(":");
    if (colon === -1) return [];
    const kind = rest.slice(0, colon + 1);
    const after = rest.slice(colon + 1);
    const quoted = JSON_STRING.exec(after)?.[0];
    const comma = after.indexOf(",");
    const length = quoted !== undefined ? quoted.length : comma === -1 ? after.length : comma;
    const value = after.slice(0, length);
    if (quoted === undefined && value.includes('"')) return [];
    entries.push(kind + (quoted !== undefined ? (JSON.parse(value) as string) : value));
    if (length === after.length) return entries;
    if (!after.startsWith(", ", length)) return [];
    rest = after.slice(length + 2);
  }
}
