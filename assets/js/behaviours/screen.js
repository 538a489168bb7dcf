/** True on a phone, as in the stylesheet. */
export const phone = matchMedia("(max-width: 640px)");
