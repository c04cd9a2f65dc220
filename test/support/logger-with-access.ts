import { createLogger, type LoggerOptions, type ProgramLogger } from "../../src/log/logger.ts";
import { type AccessLogger, type AccessLogMode, createAccessLog } from "../../src/proxy/report/access-log.ts";

/** The program's logger together with the access log that writes through it, as in the program. */
export function createLoggerWithAccess(
  options: LoggerOptions & { readonly accessLog: AccessLogMode },
): ProgramLogger & { readonly accessLog: AccessLogger } {
  const { accessLog, ...others } = options;
  const logger = createLogger(others);
  return { ...logger, accessLog: createAccessLog(accessLog, { logger, clock: others.clock }) };
}
