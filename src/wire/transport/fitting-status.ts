/**
 * An error's trailers as its peer can take them. Of an answer that is over the peer's limit nothing arrives, not even its code, and one that
 * is far over it ends the connection with all calls on it (RFC 9113 section 6.5.2). So what helps goes before what decides: first the
 * details, then the end of the text, last the metadata. The code always arrives.
 */
import { cutStatusMessage } from "../grpc/status.ts";
import type { Status } from "./server-exchange.ts";

/** Text and details together. 8 KiB for all fields is what peers commonly allow, also those that do not say so. */
const ANSWER_BYTES_MAX = 7_168;
/** The other fields of an error's trailers and the names of these two, with 32 bytes for each. */
const OTHER_BYTES_MAX = 896;
/** A shorter text says nothing. */
const TEXT_BYTES_MIN = 64;

/**
 * The status itself where it fits.
 * @param metadataBytes what its metadata counts.
 * @param listBytesMax the peer's SETTINGS_MAX_HEADER_LIST_SIZE; Infinity: it has said none.
 */
export function fittingStatus(status: Status, metadataBytes: number, listBytesMax: number): Status {
  const { text, details } = status;
  const listRoom = listBytesMax - OTHER_BYTES_MAX;
  const keepsMetadata = metadataBytes === 0 || metadataBytes + TEXT_BYTES_MIN <= listRoom;
  const room = Math.min(ANSWER_BYTES_MAX, keepsMetadata ? listRoom - metadataBytes : listRoom);
  const detailsBytes = details === undefined ? 0 : Math.ceil((details.length * 4) / 3);
  const keepsDetails = detailsBytes <= room && cutStatusMessage(text, room - detailsBytes) === text;
  if (keepsDetails && keepsMetadata) return status;
  return {
    ...status,
    text: room < TEXT_BYTES_MIN ? "" : cutStatusMessage(text, room),
    details: keepsDetails ? details : undefined,
    metadata: keepsMetadata ? status.metadata : undefined,
  };
}
