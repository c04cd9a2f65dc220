import { dlopen, ptr } from "bun:ffi";

/** The program that replaces this process. */
export interface Replacement {
  /** Absolute path of the executable. */
  readonly path: string;
  /** Begins with the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Prepares to replace the process by calling execve(2) of glibc. Unlike `process.execve` this keeps the signal mask, so
 * blocked signals stay pending. The result does it, and returns, with nothing changed, only if that fails. Undefined: the
 * system is not Linux with glibc.
 *
 * Everything else happens before: a signal between the last turn of the event loop and the call goes to a thread of the
 * runtime, whose mask nobody can set, and is lost with it.
 */
export function prepareReplacement({ path, argv, env }: Replacement): (() => void) | undefined {
  try {
    const libc = dlopen("libc.so.6", { execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" } });
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    // The closure keeps the memory alive until the call returns: the kernel copies what the pointers lead to.
    const [program, args, environment] = [toBytes(path), toPointers(argv), toPointers(variables)];
    const [programAt, argsAt, environmentAt] = [ptr(program), ptr(args.pointers), ptr(environment.pointers)];
    const memory = [program, args, environment];
    return () => {
      libc.symbols.execve(programAt, argsAt, environmentAt);
      memory.length = 0;
      libc.close();
    };
  } catch {
    return undefined;
  }
}

/** A C string. */
function toBytes(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** An array of C strings, ended by a null pointer. */
function toPointers(texts: readonly string[]) {
  const strings = texts.map(toBytes);
  return { strings, pointers: new BigUint64Array([...strings.map((bytes) => BigInt(ptr(bytes))), 0n]) };
}
