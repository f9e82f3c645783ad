/** Files as a port: what the rooms need so far. */
export interface Disk {
  /** The whole file as UTF-8 text. Rejects with the system's error. */
  readText(path: string): Promise<string>;
}
