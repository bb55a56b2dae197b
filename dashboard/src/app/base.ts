/** The path below which drover stands, without a slash at its end; empty at the root. The server writes it into `<base>`. */
export const basePath = (): string => new URL(document.baseURI).pathname.replace(/\/[^/]*$/, "");
