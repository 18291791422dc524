/**
 * Compression of single frames (PROTOCOL.md, "Frames"): brotli at its fastest, when it pays. Small XML grains shrink to a tenth; payloads
 * that are gzip already do not, and are soon left alone.
 */

import { promisify } from "node:util";
import { brotliCompress, brotliCompressSync, brotliDecompress, brotliDecompressSync, constants } from "node:zlib";
import { compressedFlag, frameTypes, headerBytes, maxBodyBytes } from "../protocol/frames.ts";
import { refuse } from "../protocol/guards.ts";
import { violation } from "../protocol/messages.ts";

const compressAside = promisify(brotliCompress);
const decompressAside = promisify(brotliDecompress);
const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };

/** What is smaller is done at once: to hand it to another thread costs more. */
const atOnceBytes = 16 * 1024;

const compress = async (body: Buffer): Promise<Buffer> =>
  body.length < atOnceBytes ? brotliCompressSync(body, options) : compressAside(body, options);

const decompress = async (body: Buffer, length: number): Promise<Buffer> => {
  const limit = { maxOutputLength: Math.max(1, length) };
  return length < atOnceBytes ? brotliDecompressSync(body, limit) : decompressAside(body, limit);
};

/** Smaller bodies are not worth it. */
const leastBytes = 512;
/** A compressed body must be this much smaller. */
const worthwhile = 0.9;
/** Frames that are left alone after one that did not shrink; twice as many after each that follows, up to the most. */
const firstPause = 15;
const mostPause = 240;

/** Compresses the frames of one connection. */
export class FrameCompressor {
  #skip = 0;
  #pause = firstPause;

  /** The frame, its body compressed if that pays. */
  async pack(frame: Buffer): Promise<Buffer> {
    const type = frame[0];
    // Lists and coded symbols are as good as random.
    if ((type !== frameTypes.grains && type !== frameTypes.chunk) || frame.length < headerBytes + leastBytes)
      return frame;
    if (this.#skip > 0) {
      this.#skip--;
      return frame;
    }
    const body = await compress(frame.subarray(headerBytes));
    if (body.length > (frame.length - headerBytes) * worthwhile) {
      this.#skip = this.#pause;
      this.#pause = Math.min(this.#pause * 2, mostPause);
      return frame;
    }
    this.#pause = firstPause;
    const packed = Buffer.concat([frame.subarray(0, headerBytes), body]);
    packed[1]! |= compressedFlag;
    return packed;
  }
}

/** Undoes {@link FrameCompressor.pack}. @throws `protocol` when the body does not inflate to exactly the length that its header declares. */
export async function unpack(frame: Buffer): Promise<Buffer> {
  if (frame.length < headerBytes || (frame[1]! & compressedFlag) === 0) return frame;
  const length = frame.readUInt32BE(12);
  if (length > maxBodyBytes) refuse("packed.declares", violation("a compressed frame declares too large a body"));
  let body: Buffer;
  try {
    body = await decompress(frame.subarray(headerBytes), length);
  } catch {
    refuse("packed.inflates", violation("a compressed frame does not inflate to what its header declares"));
  }
  if (body.length !== length)
    refuse("packed.length", violation("a compressed frame does not inflate to what its header declares"));
  const whole = Buffer.concat([frame.subarray(0, headerBytes), body]);
  whole[1]! &= ~compressedFlag;
  return whole;
}
