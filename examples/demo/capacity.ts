/** What the servers can do of the method that takes long: known, so that it can be said how much of it was done in an overload. */
import { SERVER_NAMES } from "./chapters.ts";

/** A server has so many machines that find roots, each of which takes so long for one. */
export const ROOT_MACHINES = 4;
export const ROOT_MS = 20;
/** Roots a second that all servers together find. */
export const ROOTS_PER_SECOND = (SERVER_NAMES.length * ROOT_MACHINES * 1_000) / ROOT_MS;
