/** What the file system refuses where `pull` writes. */
import { SandpiperError } from "../errors.ts";

/** Something is wrong with the file or the directory of one slice; those of the others may be well. Its code is `storage`. */
export class FileTrouble extends SandpiperError {
  constructor(message: string, options: { hint: string; cause?: unknown }) {
    super("storage", message, options);
  }
}

/** What the file system refuses is {@link FileTrouble}; our own errors pass. */
export async function storage<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new FileTrouble(`cannot write to ${path}: ${(error as Error).message}`, {
      cause: error,
      hint: "Check owner, mode and free space, or name another directory.",
    });
  }
}
