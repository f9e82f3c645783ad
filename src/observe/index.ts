/** The door `holdfast/observe`: what counters say of reliability. */
export { formatReliability, type ReliabilityRow } from "./reliability.ts";
