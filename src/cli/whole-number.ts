/** Numbers on the command line. */
import { InvalidArgumentError } from "commander";

/** A parser for an option that takes a whole number from `min` to `max`, in plain digits: no sign, exponent or prefix. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return Number(text);
  };
}
