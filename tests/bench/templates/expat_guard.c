/* A guard that lets Kamailio's xmpp module run at all.
 *
 * Since the 2017 releases the module walks expat's attribute array until it finds an empty string, but the array ends
 * with a null pointer, so the process dies on the first stream header (upstream issue 4154). This library stands
 * between the module and expat and ends a copy of the array with an empty string too. Nothing else is changed.
 *
 * It is built without libc's headers, which need not be installed, and without libc, which Kamailio has loaded by then:
 * tcc -nostdlib -shared -o expat_guard.so expat_guard.c     Use: LD_PRELOAD=expat_guard.so kamailio ...
 */
extern void *dlopen(const char *file, int mode);
extern void *dlsym(void *library, const char *name);

enum { MOST_ATTRIBUTES = 256, LAZY = 1 };
typedef void (*start_handler)(void *, const char *, const char **);
typedef void (*end_handler)(void *, const char *);
typedef void (*set_handlers)(void *, start_handler, end_handler);

static start_handler module_start;

static void guarded_start(void *user, const char *name, const char **attributes)
{
	const char *copy[MOST_ATTRIBUTES + 2];
	int n = 0;

	while (attributes && attributes[n] && n < MOST_ATTRIBUTES) {
		copy[n] = attributes[n];
		n++;
	}
	copy[n] = "";
	copy[n + 1] = 0;
	module_start(user, name, copy);
}

void XML_SetElementHandler(void *parser, start_handler start, end_handler end)
{
	void *expat = dlopen("libexpat.so.1", LAZY);
	set_handlers real = expat ? (set_handlers)dlsym(expat, "XML_SetElementHandler") : 0;

	module_start = start;
	if (real)
		real(parser, start ? guarded_start : 0, end);
}
