/*
 * fakepi: a Raspberry Pi's GPIO for programs that use rppal, on any Linux machine and without root.
 *
 * Preloaded (LD_PRELOAD), it shows the program
 *   - a board:          /proc/cpuinfo is $FAKEPI_DIR/cpuinfo (written here: a Pi 3B);
 *   - level registers:  /dev/gpiomem is $FAKEPI_DIR/gpiomem, a plain file that the program maps;
 *   - a GPIO chip:      /dev/gpiochip0 answers the two requests of the character device (linux/gpio.h, version 2)
 *                       that rppal 0.22.1 makes: chip info, and one line with edge events.
 * Everything else goes to the real system. Without FAKEPI_DIR it does nothing.
 *
 * Levels come as datagrams on the unix socket $FAKEPI_DIR/ctl; what is sent is done in order:
 *   "set 17 1"    the level of line 17 becomes 1; an edge is reported where it was asked for
 *   "miss 17 1"   the same, but the edge is lost before the kernel counts it (hardware too slow)
 *   "drop 17 1"   the same, but the kernel counts it and has no room for it (a gap in the numbers)
 * A line that was requested keeps at most 1024 unread edges, as rppal asks of the kernel; more are dropped and counted.
 *
 * Outputs: what is written to the set and clear registers becomes the level some 0.2 ms later.
 *
 * How it differs from a Pi: a bias does not change a level, a pin in input mode follows writes as well, two writes to one
 * register within 0.2 ms are one, and debounce periods are accepted and ignored. It covers the calls of a dynamically linked glibc program on a 64-bit machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINES 54          /* BCM283x */
#define GPLEV0 (0x34 / 4) /* level registers, one bit a line (BCM2835 ARM Peripherals, 6.1) */
#define GPSET0 (0x1c / 4) /* set and clear registers, of the same kind */
#define GPCLR0 (0x28 / 4)
#define MEM_SIZE 4096
#define BUFFERED 1024     /* unread edges of one line */

/* A requested line. The program reads struct gpio_v2_line_event from the other end of `wire`. */
struct line {
	int wire;       /* 0: not requested */
	uint64_t flags; /* which edges */
	uint32_t edges; /* counted since the request, dropped ones too */
};

static char dir[180];
static volatile uint32_t *registers;
static int chip = -1;
static struct line lines[LINES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open64)(const char *, int, ...);
static int (*real_ioctl)(int, unsigned long, ...);

static void give_up(const char *what)
{
	fprintf(stderr, "fakepi: %s: %s\n", what, strerror(errno));
	abort();
}

static void in_dir(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", dir, name);
}

/* ---- levels and edges ---- */

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Tells the holder of a line of an edge. */
static void report(unsigned n, int level, int counted, int kept)
{
	struct line *line = &lines[n];
	uint64_t wanted = level ? GPIO_V2_LINE_FLAG_EDGE_RISING : GPIO_V2_LINE_FLAG_EDGE_FALLING;
	if (!line->wire || !(line->flags & wanted) || !counted)
		return;
	line->edges++;
	struct gpio_v2_line_event event = {
		.timestamp_ns = now_ns(),
		.id = level ? GPIO_V2_LINE_EVENT_RISING_EDGE : GPIO_V2_LINE_EVENT_FALLING_EDGE,
		.offset = n,
		.seqno = line->edges,
		.line_seqno = line->edges,
	};
	/* A full buffer drops the event, as the kernel does; a reader that has closed gives the line back. */
	if (kept && send(line->wire, &event, sizeof event, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
		close(line->wire);
		line->wire = 0;
	}
}

static void set_level(unsigned n, int level, int counted, int kept)
{
	pthread_mutex_lock(&lock);
	volatile uint32_t *word = &registers[GPLEV0 + n / 32];
	uint32_t bit = 1u << (n % 32);
	int before = (*word & bit) != 0;
	if (n < LINES && before != level) {
		*word = level ? *word | bit : *word & ~bit;
		report(n, level, counted, kept);
	}
	pthread_mutex_unlock(&lock);
}

static void *serve(void *argument)
{
	int socket = (int)(intptr_t)argument;
	char text[64], verb[8];
	unsigned n, level;
	ssize_t size;
	while ((size = recv(socket, text, sizeof text - 1, 0)) >= 0 || errno == EINTR) {
		if (size < 0)
			continue;
		text[size] = 0;
		if (sscanf(text, "%7s %u %u", verb, &n, &level) != 3 || n >= LINES)
			continue;
		set_level(n, level != 0, strcmp(verb, "miss") != 0, strcmp(verb, "set") == 0);
	}
	return NULL;
}

/* Makes the levels what was written to the set and clear registers. */
static void *follow(void *nothing)
{
	(void)nothing;
	struct timespec pause = { .tv_nsec = 200000 };
	for (;;) {
		for (int bank = 0; bank < 2; bank++) {
			uint32_t set = __atomic_exchange_n(&registers[GPSET0 + bank], 0, __ATOMIC_SEQ_CST);
			uint32_t clear = __atomic_exchange_n(&registers[GPCLR0 + bank], 0, __ATOMIC_SEQ_CST);
			for (unsigned bit = 0; bit < 32; bit++)
				if ((set | clear) & 1u << bit)
					set_level(bank * 32 + bit, (set & 1u << bit) != 0, 1, 1);
		}
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* ---- start ---- */

static void map_registers(void)
{
	char path[256];
	in_dir(path, sizeof path, "gpiomem");
	int fd = real_open64(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, MEM_SIZE))
		give_up(path);
	registers = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (registers == MAP_FAILED)
		give_up("mmap");
	close(fd);
}

static void name_board(void)
{
	static const char text[] = "Hardware\t: BCM2835\nRevision\t: a02082\n"; /* Pi 3B 1.2 */
	char path[256];
	in_dir(path, sizeof path, "cpuinfo");
	int fd = real_open64(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
		give_up(path);
	close(fd);
}

static void listen_for_levels(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/ctl", dir) >= (int)sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		give_up(dir);
	}
	unlink(address.sun_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
		give_up(address.sun_path);
	/* The program's signals are for its own threads. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_t thread;
	if ((errno = pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd)))
		give_up("pthread_create");
	if ((errno = pthread_create(&thread, NULL, follow, NULL)))
		give_up("pthread_create");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void start(void)
{
	real_open64 = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
	real_ioctl = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	const char *given = getenv("FAKEPI_DIR");
	if (!given)
		return;
	if (strlen(given) >= sizeof dir) {
		errno = ENAMETOOLONG;
		give_up("FAKEPI_DIR");
	}
	strcpy(dir, given);
	map_registers();
	name_board();
	listen_for_levels();
}

/* ---- the calls rppal makes ---- */

int open64(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	int mode = va_arg(rest, int);
	va_end(rest);
	char ours[256];
	if (dir[0] && !strcmp(path, "/proc/cpuinfo")) {
		in_dir(ours, sizeof ours, "cpuinfo");
		path = ours;
	} else if (dir[0] && !strcmp(path, "/dev/gpiomem")) {
		in_dir(ours, sizeof ours, "gpiomem");
		path = ours;
		flags &= ~O_SYNC;
	} else if (dir[0] && !strcmp(path, "/dev/gpiochip0")) {
		return chip = real_open64("/dev/null", O_RDWR | O_CLOEXEC);
	}
	return real_open64(path, flags, mode);
}

static int chip_info(struct gpiochip_info *info)
{
	memset(info, 0, sizeof *info);
	strcpy(info->name, "gpiochip0");
	strcpy(info->label, "pinctrl-bcm2835");
	info->lines = LINES;
	return 0;
}

/* Whether the program still holds the other end. */
static int is_held(struct line *line)
{
	char byte;
	if (line->wire && recv(line->wire, &byte, 1, MSG_DONTWAIT) == 0) {
		close(line->wire);
		line->wire = 0;
	}
	return line->wire != 0;
}

static int request_line(struct gpio_v2_line_request *request)
{
	uint32_t n = request->offsets[0];
	int ends[2];
	if (request->num_lines != 1 || n >= LINES) {
		errno = EINVAL;
		return -1;
	}
	if (is_held(&lines[n])) {
		errno = EBUSY;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -1;
	/* The kernel charges a small message with 768 bytes of the sender's buffer (skb overhead), and doubles what is
	 * asked for: this holds about BUFFERED events. */
	int size = BUFFERED * 768 / 2;
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	lines[n] = (struct line){ .wire = ends[1], .flags = request->config.flags };
	request->fd = ends[0];
	return 0;
}

int ioctl(int fd, unsigned long number, ...)
{
	va_list rest;
	va_start(rest, number);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	/* Once the chip is closed its number may be another file's, but no other file is asked these two things. */
	if (fd < 0 || fd != chip || (number != GPIO_GET_CHIPINFO_IOCTL && number != GPIO_V2_GET_LINE_IOCTL))
		return real_ioctl(fd, number, argument);
	if (number == GPIO_GET_CHIPINFO_IOCTL)
		return chip_info(argument);
	pthread_mutex_lock(&lock);
	int result = request_line(argument);
	pthread_mutex_unlock(&lock);
	return result;
}
