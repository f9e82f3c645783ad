/** SETTINGS (RFC 9113 6.5): what a peer allows us, checked as it arrives. */
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW,
  FLOW_CONTROL_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
  readUint32,
  SETTING_ENABLE_PUSH,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  SETTING_MAX_HEADER_LIST_SIZE,
  WINDOW_MAX,
} from "./frame.ts";

export interface PeerSettings {
  headerTableBytes: number;
  streamsMax: number;
  initialWindow: number;
  frameBytesMax: number;
  headerListBytesMax: number;
}

/** What holds until the first SETTINGS frame arrives. */
export function initialPeerSettings(): PeerSettings {
  return {
    headerTableBytes: 4_096,
    streamsMax: 100,
    initialWindow: DEFAULT_WINDOW,
    frameBytesMax: DEFAULT_FRAME_BYTES,
    headerListBytesMax: Infinity,
  };
}

/**
 * Applies one entry. Returns NO_ERROR, or the connection error that the value is. Unknown settings are ignored.
 * `isFromServer`: a server must not enable push.
 */
export function applySetting(settings: PeerSettings, id: number, value: number, isFromServer: boolean): number {
  switch (id) {
    case SETTING_HEADER_TABLE_SIZE:
      settings.headerTableBytes = value;
      return NO_ERROR;
    case SETTING_ENABLE_PUSH:
      return value > 1 || (isFromServer && value === 1) ? PROTOCOL_ERROR : NO_ERROR;
    case SETTING_MAX_CONCURRENT_STREAMS:
      settings.streamsMax = value;
      return NO_ERROR;
    case SETTING_INITIAL_WINDOW_SIZE:
      if (value > WINDOW_MAX) return FLOW_CONTROL_ERROR;
      settings.initialWindow = value;
      return NO_ERROR;
    case SETTING_MAX_FRAME_SIZE:
      if (value < DEFAULT_FRAME_BYTES || value > 0xffffff) return PROTOCOL_ERROR;
      settings.frameBytesMax = value;
      return NO_ERROR;
    case SETTING_MAX_HEADER_LIST_SIZE:
      settings.headerListBytesMax = value;
      return NO_ERROR;
    default:
      return NO_ERROR;
  }
}

/** Calls `each` for every entry of a SETTINGS payload (whose length is a multiple of six). */
export function forEachSetting(
  bytes: Buffer,
  start: number,
  end: number,
  each: (id: number, value: number) => void,
): void {
  for (let p = start; p + 6 <= end; p += 6) {
    each(((bytes[p] as number) << 8) | (bytes[p + 1] as number), readUint32(bytes, p + 2));
  }
}
