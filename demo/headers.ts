import type { RequestListener } from 'node:http';

/** For the inline styles of formulas and of the development server. */
const STYLES = "style-src 'self' 'unsafe-inline'";
const POLICY = [
  "default-src 'self'",
  "img-src 'self' data:",
  STYLES,
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
];
/** Angular's example compiles its template in the browser. */
const ANGULAR = /^\/examples\/angular(\/|$)/;

/** Sets the headers that protect a page, and everything that is served beside it. */
export const setSecurityHeaders: RequestListener = ({ url = '' }, response) => {
  const compiles = ANGULAR.test(url) ? ["script-src 'self' 'unsafe-eval'"] : [];
  response.setHeader('content-security-policy', [...POLICY, ...compiles].join('; '));
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('referrer-policy', 'no-referrer');
};
