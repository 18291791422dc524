/** A disk of which a test says how much is free. What is cleared away does not show on it; how often that was done does. */
import { Disk } from "../../src/database/postgres/disk.ts";

const mib = 2 ** 20;

export class FakeDisk extends Disk {
  free = 1000 * mib;
  cleaned = 0;

  constructor() {
    super("/somewhere", undefined, async () => void this.cleaned++);
  }

  override async look() {
    return { free: this.free, reserve: 30 * mib };
  }
}
