/** Files of a simulated host: they live as long as the simulation and survive every crash. */
import type { Disk } from "../world/disk.ts";
import { afterIo } from "./after-io.ts";
import type { Process } from "./process.ts";

export function memoryDisk(process: Process): Disk {
  return {
    readText: (path) =>
      new Promise((resolve, reject) => {
        afterIo(process, () => {
          const text = process.host.files.get(path);
          if (text !== undefined) resolve(text);
          else
            reject(
              Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: "ENOENT", path }),
            );
        });
      }),
  };
}
