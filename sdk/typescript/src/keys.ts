import { constants, createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

import { CredentialsNotFound } from "./errors.js";

const CURVES: Record<string, string> = { prime256v1: "ES256", secp384r1: "ES384", secp521r1: "ES512" };

/** A private key and the algorithm that it signs JWTs with. */
export class SigningKey {
  readonly algorithm: string;
  readonly #key: KeyObject;

  constructor(key: KeyObject) {
    this.#key = key;
    this.algorithm = algorithmOf(key);
  }

  /** Reads an unencrypted PEM key. */
  static load(pem: string | Buffer): SigningKey {
    let key: KeyObject;
    try {
      key = createPrivateKey(pem);
    } catch {
      throw new CredentialsNotFound("the private key is not an unencrypted PEM key");
    }
    return new SigningKey(key);
  }

  /** A new key on the curve P-256: what every library reads. */
  static generate(): SigningKey {
    return new SigningKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
  }

  /** A JWT. */
  sign(claims: Record<string, unknown>, header: Record<string, unknown>): string {
    const parts = [{ ...header, alg: this.algorithm }, claims];
    const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${text}.${this.#signature(Buffer.from(text)).toString("base64url")}`;
  }

  /** The public key, with the members that make it and no others, in the order of RFC 7638. */
  publicJwk(): Record<string, string> {
    const jwk = createPublicKey(this.#key).export({ format: "jwk" }) as Record<string, unknown>;
    const members = ["crv", "e", "kty", "n", "x", "y"].filter((name) => typeof jwk[name] === "string");
    return Object.fromEntries(members.map((name) => [name, String(jwk[name])]));
  }

  /** What the key is known by (RFC 7638). */
  thumbprint(): string {
    return sha256(JSON.stringify(this.publicJwk()));
  }

  #signature(data: Buffer): Buffer {
    const key = this.#key;
    if (this.algorithm === "EdDSA") return sign(null, data, key);
    const hash = `sha${this.algorithm.slice(2)}`;
    if (this.algorithm.startsWith("PS")) {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return sign(hash, data, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
    }
    return sign(hash, data, { key, dsaEncoding: "ieee-p1363" });
  }
}

/** The SHA-256 of a text in base64url. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

function algorithmOf(key: KeyObject): string {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const found =
    key.asymmetricKeyType === "ed25519" ? "EdDSA" : key.asymmetricKeyType === "rsa" ? "PS256" : CURVES[curve ?? ""];
  if (!found) throw new CredentialsNotFound("the private key is of a kind that signs no JWTs");
  return found;
}
