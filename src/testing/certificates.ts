/**
 * Throw-away certificates for tests of TLS: an authority, a server and a client, ECDSA P-256 (RFC 5280 and RFC 5480,
 * written in DER by hand so that no dependency is needed). They prove nothing outside of the test that made them.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { nodeWorld } from "../world/node.ts";

export interface CertificateOptions {
  /** Names and addresses of the server. Default `localhost`, `127.0.0.1` and `::1`. */
  readonly hosts?: readonly string[] | undefined;
  /** What the client is called: URIs (`spiffe://house/caller`) or DNS names. Default `client.test`. */
  readonly clientNames?: readonly string[] | undefined;
  /** The server's and the client's certificate ended yesterday. Default false. */
  readonly isExpired?: boolean | undefined;
  /** Milliseconds since the Unix epoch: certificates are valid from two days before to one day after. Default now. */
  readonly nowMs?: number | undefined;
}

/** PEM texts. */
export interface Certificates {
  readonly caPem: string;
  readonly serverCertPem: string;
  readonly serverKeyPem: string;
  readonly clientCertPem: string;
  readonly clientKeyPem: string;
}

/** Makes an authority of its own for each call; takes about a millisecond. */
export function makeCertificates(options: CertificateOptions = {}): Certificates {
  const nowMs = options.nowMs ?? nodeWorld.clock.wallMs();
  const validity = { fromMs: nowMs - 2 * DAY_MS, toMs: options.isExpired ? nowMs - DAY_MS : nowMs + DAY_MS };
  const authority = makeAuthority({ fromMs: nowMs - 2 * DAY_MS, toMs: nowMs + DAY_MS });
  const server = issue(authority, validity, 2, OID.serverAuth, options.hosts ?? ["localhost", "127.0.0.1", "::1"]);
  const client = issue(authority, validity, 3, OID.clientAuth, options.clientNames ?? ["client.test"]);
  return {
    caPem: authority.certPem,
    serverCertPem: server.certPem,
    serverKeyPem: server.keyPem,
    clientCertPem: client.certPem,
    clientKeyPem: client.keyPem,
  };
}

interface Validity {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Authority {
  readonly certPem: string;
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly privateKey: KeyObject;
}

const DAY_MS = 86_400_000;

/** Object identifiers, in their DER encoding. */
const OID = {
  ecdsaWithSha256: Buffer.from("06082a8648ce3d040302", "hex"),
  commonName: Buffer.from("0603550403", "hex"),
  subjectKeyId: Buffer.from("0603551d0e", "hex"),
  keyUsage: Buffer.from("0603551d0f", "hex"),
  subjectAltName: Buffer.from("0603551d11", "hex"),
  basicConstraints: Buffer.from("0603551d13", "hex"),
  authorityKeyId: Buffer.from("0603551d23", "hex"),
  extendedKeyUsage: Buffer.from("0603551d25", "hex"),
  serverAuth: Buffer.from("06082b06010505070301", "hex"),
  clientAuth: Buffer.from("06082b06010505070302", "hex"),
};

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const TRUE = Buffer.from("0101ff", "hex");
const SIGNATURE_ALGORITHM = der(SEQUENCE, OID.ecdsaWithSha256);

function makeAuthority(validity: Validity): Authority {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyId = keyIdOf(publicKey);
  // Each authority has a name of its own, or a stranger's certificate would look like one with a broken signature.
  const name = nameOf(`Test authority ${keyId.toString("hex").slice(0, 16)}`);
  const certPem = signed(privateKey, 1, name, name, validity, publicKey, [
    extension(OID.basicConstraints, der(SEQUENCE, TRUE), true),
    extension(OID.keyUsage, Buffer.from("03020106", "hex"), true),
    extension(OID.subjectKeyId, der(OCTET_STRING, keyId)),
  ]);
  return { certPem, name, keyId, privateKey };
}

function issue(
  authority: Authority,
  validity: Validity,
  serial: number,
  usage: Buffer,
  names: readonly string[],
): { readonly certPem: string; readonly keyPem: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = nameOf(names[0] ?? "nobody");
  const certPem = signed(authority.privateKey, serial, authority.name, subject, validity, publicKey, [
    extension(OID.basicConstraints, der(SEQUENCE), true),
    extension(OID.keyUsage, Buffer.from("03020780", "hex"), true),
    extension(OID.extendedKeyUsage, der(SEQUENCE, usage)),
    extension(OID.subjectKeyId, der(OCTET_STRING, keyIdOf(publicKey))),
    extension(OID.authorityKeyId, der(SEQUENCE, der(0x80, authority.keyId))),
    ...(names.length > 0 ? [extension(OID.subjectAltName, der(SEQUENCE, ...names.map(alternativeName)))] : []),
  ]);
  return { certPem, keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

function signed(
  key: KeyObject,
  serial: number,
  issuer: Buffer,
  subject: Buffer,
  validity: Validity,
  publicKey: KeyObject,
  extensions: readonly Buffer[],
): string {
  const body = der(
    SEQUENCE,
    Buffer.from("a003020102", "hex"),
    der(INTEGER, Buffer.from([serial])),
    SIGNATURE_ALGORITHM,
    issuer,
    der(SEQUENCE, time(validity.fromMs), time(validity.toMs)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(SEQUENCE, ...extensions)),
  );
  const whole = der(SEQUENCE, body, SIGNATURE_ALGORITHM, der(BIT_STRING, Buffer.from([0]), sign("sha256", body, key)));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** One value of DER: tag, length, contents (X.690, section 8.1). Contents under 64 KiB. */
function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  const { length } = body;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), body]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), body]);
}

function extension(id: Buffer, value: Buffer, isCritical = false): Buffer {
  return der(SEQUENCE, id, ...(isCritical ? [TRUE] : []), der(OCTET_STRING, value));
}

function nameOf(commonName: string): Buffer {
  const text = der(UTF8_STRING, Buffer.from(commonName.slice(0, 64), "utf8"));
  return der(SEQUENCE, der(SET, der(SEQUENCE, OID.commonName, text)));
}

function keyIdOf(publicKey: KeyObject): Buffer {
  return createHash("sha1")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

/** `YYMMDDHHMMSSZ`, for years before 2050. */
function time(atMs: number): Buffer {
  const dayMs = Math.floor(atMs / DAY_MS) * DAY_MS;
  const seconds = Math.floor((atMs - dayMs) / 1000);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const digits = [...civilDate(dayMs / DAY_MS), ...clock].map((part) => String(part % 100).padStart(2, "0"));
  return der(UTC_TIME, Buffer.from(`${digits.join("")}Z`, "latin1"));
}

/** Year, month and day of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms"); years begin in March. */
function civilDate(day: number): readonly [number, number, number] {
  const sinceMarch0 = day + 719_468;
  const era = Math.floor(sinceMarch0 / 146_097);
  const dayOfEra = sinceMarch0 - era * 146_097;
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const dayOfMonth = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfMonth];
}

/** A GeneralName (RFC 5280, section 4.2.1.6): URI [6], IP address [7] or DNS name [2]. */
function alternativeName(name: string): Buffer {
  if (name.includes("://")) return der(0x86, Buffer.from(name, "latin1"));
  if (/^\d+(?:\.\d+){3}$/.test(name)) return der(0x87, Buffer.from(name.split(".").map(Number)));
  if (name.includes(":")) return der(0x87, ipv6Bytes(name));
  return der(0x82, Buffer.from(name, "latin1"));
}

/** The 16 bytes of an IPv6 address without an IPv4 tail. */
function ipv6Bytes(address: string): Buffer {
  const [left = "", right] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const head = groups(left);
  const tail = groups(right ?? "");
  const missing = new Array<string>(8 - head.length - tail.length).fill("0");
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...head, ...missing, ...tail].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index);
  }
  return bytes;
}
