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
 * Replaces the process by calling execve(2) of glibc. Unlike `process.execve` this keeps the signal mask, so blocked
 * signals stay pending. Returns, with nothing changed, only if that fails.
 */
export function replaceProcess({ path, argv, env }: Replacement): void {
  try {
    const libc = dlopen("libc.so.6", { execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" } });
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    // These variables keep the memory alive until the call returns: the kernel copies what the pointers lead to.
    const [program, args, environment] = [toBytes(path), toPointers(argv), toPointers(variables)];
    libc.symbols.execve(ptr(program), ptr(args.pointers), ptr(environment.pointers));
    libc.close();
  } catch {
    // The system is not Linux with glibc.
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
