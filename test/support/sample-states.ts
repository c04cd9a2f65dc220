/** What the sample page shows when everything in it works. */
export const SAMPLE_STATES: Readonly<Record<string, RegExp>> = {
  echo: /^200$/,
  events: /^frames: [1-9]/,
  upload: /^SHA-256 equal$/,
  ws: /^2 of 2 back$/,
  strict: /^2 of 2 back$/,
  redirect: /^landed here$/,
  asset: /^loaded$/,
  cookie: /^below its path only$/,
};
