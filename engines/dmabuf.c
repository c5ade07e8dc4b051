// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A fio engine for io_uring with registered dma-bufs.
 *
 * registration=none, user and dmabuf move the same bytes between the same
 * memory and the same files by the same code: what differs is the opcode, and
 * what sqe->addr counts from. /dev/ngXnY gets the same as NVMe commands.
 *
 * This is the only file that knows fio.
 */
#include "fio.h"
#include "optgroup.h"
#include "verify.h"
#include "engines/cmdprio.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include <linux/nvme_ioctl.h>

#include "buffer.h"
#include "nvme.h"
#include "reach.h"
#include "ring.h"
#include "self.h"
#include "told.h"

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

enum registration { REGISTER_NONE, REGISTER_USER, REGISTER_DMABUF };
enum summary { SUMMARY_AUTO, SUMMARY_ALL, SUMMARY_NONE };
enum cpu_sync { CPU_SYNC_AUTO, CPU_SYNC_ON, CPU_SYNC_OFF };
enum source { SOURCE_BY_OPTIONS, SOURCE_UDMABUF, SOURCE_HEAP, SOURCE_DRM, SOURCE_VFIO, SOURCE_FD, SOURCE_CUDA, SOURCE_HIP };

static const struct source_ops *const sources[] = {
	[SOURCE_UDMABUF] = &source_udmabuf,
	[SOURCE_HEAP] = &source_heap,
	[SOURCE_DRM] = &source_drm,
	[SOURCE_VFIO] = &source_vfio,
	[SOURCE_FD] = &source_fd,
	[SOURCE_CUDA] = &source_cuda,
	[SOURCE_HIP] = &source_hip,
};

#ifndef IORING_URING_CMD_FIXED	/* since Linux 6.1 */
#define IORING_URING_CMD_FIXED	(1u << 0)
#endif

#define SIZE_ENOUGH	(1ULL << 40)	/* of a dma-buf */
#define PAGES_2M	(2 << 20)
#define PAGES_THP	(PAGES_2M | 1)	/* told apart from hugetlb by a bit */
#define PAGES_SCATTERED	(4096 | 1)

static const char *const registration_names[] = { "none", "user", "dmabuf" };

struct options {
	void *pad;		/* fio takes offset 0 for "no option" */
	unsigned int registration;
	unsigned int source;
	unsigned int page_size;
	char *heap;
	char *drm_node;
	char *vfio_device;
	unsigned int vfio_region;
	unsigned int dmabuf_fd;
	unsigned int dmabuf_fd_set;
	char *dmabuf_socket;
	char *gpu_dev_ids;
	unsigned long long dmabuf_offset;
	unsigned long long dmabuf_size;
	const char *out_of_range;	/* an option whose value is */
	unsigned int cpu_sync;
	unsigned int require_p2p;
	unsigned int summary;
	unsigned int registerfiles;
	unsigned int registerfiles_set;
	unsigned int sqpoll;
	unsigned int sqpoll_cpu_set;
	unsigned int sqpoll_cpu;
	unsigned int hipri;
	unsigned int nowait;
	unsigned int force_async;
	unsigned int nonvectored;
	unsigned int cmd_type;
	unsigned int readfua;
	unsigned int writefua;
	unsigned int ignored;
	struct cmdprio_options cmdprio;
};

/* What the engine keeps for one of fio's I/O units. */
struct unit {
	struct fio_file *file;	/* that its submission entry is made out for */
	uintptr_t base;		/* the CPU address that sqe->addr counts from */
	struct buffer *buffer;
	unsigned int slot;	/* of its buffer, for the first file */
	unsigned int shift;	/* of a block of the file, if that takes commands */
	unsigned int status;	/* NVMe's, of a command that failed; 0: it was the kernel that failed it */
	struct iovec range;	/* all of a vector */
};

struct job {
	struct ring ring;
	const struct source_ops *source;
	struct self self;
	struct buffers buffers;
	struct unit *units;
	struct io_u **io_us;
	uint8_t opcode[2];	/* by data direction; NVMe's, of commands */
	uint32_t fua[2];
	struct nvme_ns *namespaces;	/* one per file, which all take commands; NULL: none does */
	bool cpu_sync;
	bool said;		/* of what was wrong in ->queue */
	bool odd;		/* an I/O needs more than its entry */
	bool vectored;
	unsigned int force_async;
	unsigned int prepared;	/* since the last forced one */
	struct cmdprio cmdprio;
	bool registered_files;
	int *fds;		/* one per file, open from first to last; NULL: fio opens and closes */
	unsigned int nr_files;
	bool started;
	uint64_t export_us;
	uint64_t register_us;
};

/* Say why in one sentence and make fio stop the job with a non-zero status. */
__attribute__((format(printf, 3, 4)))
static int refuse(struct thread_data *td, int err, const char *fmt, ...)
{
	char text[sizeof(((struct error *)0)->text) + 64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_err("dmabuf: %s: %s.\n", td->o.name, text);
	if (!td->error)
		td_verror(td, err, "dmabuf engine");
	return 1;
}

/* Where no output format is in the way: stderr, or with --server the client. */
__attribute__((format(printf, 1, 2)))
static void say(const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (is_backend)
		log_info("%s", text);
	else
		fputs(text, stderr);
}

/*
 * ->queue: take one I/O. Nothing reaches the kernel before ->commit, and
 * nothing is allocated.
 */

static struct nvme_uring_cmd *command(struct io_uring_sqe *sqe)
{
	return (void *)sqe->cmd;
}

/* ->rw_flags are ->uring_cmd_flags, and ->off is ->cmd_op. No priority: that of the job counts. */
static void make_out_command(struct options *o, struct job *job, struct unit *unit, struct io_uring_sqe *sqe, unsigned int file)
{
	memset(sqe + 1, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->off = NVME_URING_CMD_IO;
	sqe->ioprio = 0;
	sqe->rw_flags = o->registration == REGISTER_NONE ? 0 : IORING_URING_CMD_FIXED;
	command(sqe)->nsid = job->namespaces[file].nsid;
	unit->shift = job->namespaces[file].shift;
}

/* Fill in what stays the same from one I/O to the next of the same file. */
static void make_out(struct thread_data *td, struct job *job, struct io_u *io_u)
{
	struct options *o = td->eo;
	struct unit *unit = &job->units[io_u->index];
	struct io_uring_sqe *sqe = ring_sqe(&job->ring, io_u->index);
	unsigned int file = job->fds ? io_u->file->engine_pos : 0;

	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = io_u->index;
	sqe->fd = job->registered_files ? file : job->fds ? job->fds[file] : io_u->file->fd;
	sqe->flags = job->registered_files ? IOSQE_FIXED_FILE : 0;
	sqe->ioprio = td->ioprio;
	sqe->rw_flags = o->nowait ? RWF_NOWAIT : 0;
	sqe->buf_index = unit->slot;
	if (o->registration == REGISTER_DMABUF)
		sqe->buf_index += file * job->buffers.nr;
	if (job->namespaces)
		make_out_command(o, job, unit, sqe, file);
	unit->file = job->fds ? io_u->file : NULL;	/* else its descriptor may be another next time */
}

static void make_out_sync(struct thread_data *td, struct job *job, struct io_u *io_u)
{
	struct io_uring_sqe *sqe = ring_sqe(&job->ring, io_u->index);
	struct fio_file *f = io_u->file;

	make_out(td, job, io_u);
	job->units[io_u->index].file = NULL;	/* the next one starts over */
	sqe->ioprio = 0;
	sqe->rw_flags = 0;
	sqe->buf_index = 0;
	if (job->namespaces) {
		command(sqe)->opcode = NVME_FLUSH;
		return;
	}
	if (io_u->ddir == DDIR_SYNC_FILE_RANGE) {
		sqe->opcode = IORING_OP_SYNC_FILE_RANGE;
		if (f->first_write != -1ULL) {	/* else the whole file: one is under way */
			sqe->off = f->first_write;
			sqe->len = f->last_write - f->first_write;
		}
		sqe->sync_range_flags = td->o.sync_file_range;
	} else {
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = io_u->ddir == DDIR_DATASYNC ? IORING_FSYNC_DATASYNC : 0;
	}
}

/*
 * The CPU is done with the buffer. Here and not in ->prep: fio scrambles and
 * stamps a buffer after that.
 */
static int prepare_odd(struct thread_data *td, struct job *job, struct io_uring_sqe *sqe, struct io_u *io_u)
{
	struct unit *unit = &job->units[io_u->index];

	if (job->vectored) {
		unit->range = (struct iovec){ (void *)(uintptr_t)sqe->addr, sqe->len };
		sqe->addr = (uintptr_t)&unit->range;
		sqe->len = 1;
	}
	sqe->flags &= ~IOSQE_ASYNC;
	if (job->force_async && ++job->prepared == job->force_async) {
		job->prepared = 0;
		sqe->flags |= IOSQE_ASYNC;
	}
	if (job->cmdprio.mode != CMDPRIO_MODE_NONE)
		sqe->ioprio = fio_cmdprio_set_ioprio(td, &job->cmdprio, io_u) ? io_u->ioprio : td->ioprio;
	return job->cpu_sync ? buffer_cpu_end(unit->buffer, io_u->xfer_buf, io_u->ddir == DDIR_WRITE ? io_u->xfer_buflen : 0) : 0;
}

static enum fio_q_status queue_trim(struct thread_data *td, struct job *job, struct io_u *io_u)
{
	if (job->ring.queued)
		return FIO_Q_BUSY;
	do_io_u_trim(td, io_u);
	io_u_mark_submit(td, 1);
	io_u_mark_complete(td, 1);
	return FIO_Q_COMPLETED;
}

/* A command cannot name a part of a block. Of an error in ->queue, fio says no more than its number. */
static int not_whole_blocks(struct thread_data *td, struct job *job, const struct io_u *io_u)
{
	if (!job->said)
		log_err("dmabuf: %s: offset %llu and %llu bytes are not whole blocks of %s, which are of %u bytes.\n", td->o.name, io_u->offset,
			io_u->xfer_buflen, io_u->file->file_name, 1 << job->units[io_u->index].shift);
	job->said = true;
	return -EINVAL;
}

static int fill_command(struct thread_data *td, struct job *job, const struct unit *unit, struct io_uring_sqe *sqe, const struct io_u *io_u)
{
	struct nvme_uring_cmd *cmd = command(sqe);
	uint64_t block = io_u->offset >> unit->shift;

	if (unlikely((io_u->offset | io_u->xfer_buflen) & ((1ull << unit->shift) - 1)))
		return not_whole_blocks(td, job, io_u);
	cmd->opcode = job->opcode[io_u->ddir];
	cmd->addr = (uintptr_t)io_u->xfer_buf - unit->base;
	cmd->data_len = io_u->xfer_buflen;
	cmd->cdw10 = block;
	cmd->cdw11 = block >> 32;
	cmd->cdw12 = ((io_u->xfer_buflen >> unit->shift) - 1) | job->fua[io_u->ddir];
	return 0;
}

static enum fio_q_status dmabuf_queue(struct thread_data *td, struct io_u *io_u)
{
	struct job *job = td->io_ops_data;
	struct unit *unit = &job->units[io_u->index];
	struct io_uring_sqe *sqe = ring_sqe(&job->ring, io_u->index);

	if (likely(io_u->ddir <= DDIR_WRITE)) {
		if (unlikely(unit->file != io_u->file))
			make_out(td, job, io_u);
		if (job->namespaces) {
			io_u->error = -fill_command(td, job, unit, sqe, io_u);
			if (unlikely(io_u->error))
				return FIO_Q_COMPLETED;
		} else {
			sqe->opcode = job->opcode[io_u->ddir];
			sqe->off = io_u->offset;
			sqe->addr = (uintptr_t)io_u->xfer_buf - unit->base;
			sqe->len = io_u->xfer_buflen;
		}
		if (unlikely(job->odd)) {
			io_u->error = -prepare_odd(td, job, sqe, io_u);
			if (io_u->error)
				return FIO_Q_COMPLETED;
		}
	} else if (io_u->ddir == DDIR_TRIM) {
		return queue_trim(td, job, io_u);
	} else {
		make_out_sync(td, job, io_u);
	}
	ring_push(&job->ring, io_u->index);
	return FIO_Q_QUEUED;
}

/* ->commit: hand what is queued to the kernel and say when. */
static void stamp(struct thread_data *td, struct job *job, unsigned int first, unsigned int nr)
{
	struct ring *r = &job->ring;
	struct timespec now;

	if (!fio_fill_issue_time(td))
		return;
	fio_gettime(&now, NULL);
	for (; nr; first++, nr--) {
		struct io_u *io_u = job->io_us[r->sq_array[first & r->sq_mask]];

		io_u->issue_time = now;
		io_u_queued(td, io_u);
	}
	if (td->o.read_iolog_file)
		td->last_issue = now;
}

static int dmabuf_commit(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	struct ring *r = &job->ring;

	while (r->queued) {
		unsigned int first = r->sq_tail - r->queued;
		int nr = ring_submit(r);

		if (nr < 0) {
			td_verror(td, -nr, "io_uring_enter");
			return nr;
		}
		dprint(FD_IO, "dmabuf: the kernel took %d\n", nr);
		stamp(td, job, first, nr);
		io_u_mark_submit(td, nr);
	}
	return 0;
}

/* ->getevents: wait for @min to @max completions; ->event gives them out. */
static int dmabuf_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			    const struct timespec *t)
{
	struct job *job = td->io_ops_data;
	struct ring *r = &job->ring;
	bool waited = false;
	int ret;

	ring_restart(r);
	for (;;) {
		unsigned int got = ring_reap(r, max);

		if (unlikely(r->nr_again)) {
			dprint(FD_IO, "dmabuf: %u have no mapping and are issued again\n", r->nr_again);
			ret = dmabuf_commit(td);
			if (!ret)
				ret = ring_reissue(r);
			if (ret)
				return ret;
		}
		if (got >= min && (got || waited))
			return got;
		ret = ring_wait(r, got, min);
		if (ret) {
			td_verror(td, -ret, "io_uring_enter");
			return ret;
		}
		waited = true;
	}
}

/* What a read or write of a file would have returned. */
static int command_result(struct job *job, const struct io_u *io_u, int res)
{
	job->units[io_u->index].status = res > 0 ? res : 0;
	return res > 0 ? -nvme_errno(res) : !res && ddir_rw(io_u->ddir) ? (int)io_u->xfer_buflen : res;
}

static struct io_u *dmabuf_event(struct thread_data *td, int event)
{
	struct job *job = td->io_ops_data;
	const struct io_uring_cqe *cqe = ring_cqe(&job->ring, event);
	struct io_u *io_u = job->io_us[cqe->user_data];
	int res = job->namespaces ? command_result(job, io_u, cqe->res) : cqe->res;

	if (unlikely(res != io_u->xfer_buflen)) {
		if (res < 0)
			io_u->error = -res;
		else if (ddir_rw(io_u->ddir))
			io_u->resid = io_u->xfer_buflen - res;
	}
	if (unlikely(job->cpu_sync) && ddir_rw(io_u->ddir)) {
		res = buffer_cpu_begin(job->units[io_u->index].buffer, io_u->xfer_buf,
				       io_u->ddir == DDIR_READ && res > 0 ? res : 0);
		if (res && !io_u->error)
			io_u->error = -res;
	}
	return io_u;
}

/* ->errdetails: what an errno means here. fio frees the text. */
static const char *command_hint(int err)
{
	switch (err) {
	case EOPNOTSUPP:
		return "the kernel does not take such a command with such a buffer: dma-bufs are for namespaces with the NVM command set";
	case EACCES:
		return "commands need root, or write permission for the character device";
	case EINTR:
		return "the controller was reset, or went, before it answered";
	case EINVAL:
		return "offset and length have to be whole blocks of the device, and memory in no more pieces than one command takes (queue/max_segments): use a smaller bs, pages=2m, or registration=dmabuf";
	}
	return NULL;
}

static const char *hint(const struct options *o, bool commands, int err)
{
	bool dmabuf = o->registration == REGISTER_DMABUF;
	const char *why = commands ? command_hint(err) : NULL;

	if (why)
		return why;
	switch (err) {
	case EAGAIN:
		return o->nowait ? "nowait=1 and the I/O would have had to wait" :
			"the dma-buf's mapping was taken away and did not come back in time";
	case EOPNOTSUPP:
		return o->hipri ? "this kernel, device or registration cannot complete by polling: leave out hipri, or load nvme with poll_queues=N" :
			dmabuf ? "the kernel cannot do this operation on this file: holes of files are read into memory that the CPU can map, and no others" :
			"the kernel cannot do this operation on this file";
	case EBADF:
		return dmabuf ? "the I/O went to another struct file than the one registered with its dma-buf" : NULL;
	case ENODEV:
		return dmabuf ? "the device behind the registration is gone" : NULL;
	case EFAULT:
		return dmabuf ? "the I/O does not lie inside its dma-buf, or the buffer is not registered" : NULL;
	case EINVAL:
		return "offset, length and memory have to suit the device's logical block, and the file has to be open with O_DIRECT";
	}
	return NULL;
}

static char *describe(struct thread_data *td, const struct io_u *io_u)
{
	struct options *o = td->eo;
	struct job *job = td->io_ops_data;
	const struct unit *unit = &job->units[io_u->index];
	struct io_uring_sqe *sqe = ring_sqe(&job->ring, io_u->index);
	const struct buffer *b = o->registration == REGISTER_DMABUF && ddir_rw(io_u->ddir) ? unit->buffer : NULL;
	unsigned long long addr = job->namespaces ? command(sqe)->addr : sqe->addr;
	unsigned int len = job->namespaces ? command(sqe)->data_len : sqe->len;
	bool fua = job->namespaces && command(sqe)->cdw12 & NVME_FUA;
	const char *why = hint(o, job->namespaces, io_u->error);
	struct error e;
	char *text = NULL;

	if (unit->status) {
		error_set(&e, io_u->error, "NVMe status 0x%x, %s", unit->status, nvme_status_name(unit->status));
		why = e.text;
	} else if (io_u->error == EIO && b && buffer_why(b, &e)) {
		why = e.text;
	}

	if (asprintf(&text, "dmabuf: %s: registration=%s, %s memory, buffer slot %u, address 0x%llx, %u bytes%s: %s%s%s",
		     td->o.name, registration_names[o->registration], job->source->name,
		     sqe->buf_index, addr, len, fua ? " with FUA" : "",
		     strerror(io_u->error), why ? ": " : "", why ? why : "") < 0)
		return NULL;
	return text;
}

#if FIO_IOOPS_VERSION >= 36
static char *dmabuf_errdetails(struct thread_data *td, struct io_u *io_u)
{
	return describe(td, io_u);
}
#else
static char *dmabuf_errdetails(struct io_u *io_u)
{
	return describe(io_u->mmap_data, io_u);
}
#endif

/* The source named, or the one that the other options are for. */
static int choose_source(struct thread_data *td, struct job *job)
{
	const struct options *o = td->eo;
	const struct { const char *option; bool given; enum source of[2]; } rows[] = {
		{ "heap", o->heap, { SOURCE_HEAP } },
		{ "drm_node", o->drm_node, { SOURCE_DRM } },
		{ "vfio_device", o->vfio_device, { SOURCE_VFIO } },
		{ "vfio_region", o->vfio_region, { SOURCE_VFIO } },
		{ "dmabuf_fd", o->dmabuf_fd_set, { SOURCE_FD } },
		{ "dmabuf_socket", o->dmabuf_socket, { SOURCE_FD } },
		{ "dmabuf_offset", o->dmabuf_offset, { SOURCE_FD } },
		{ "gpu_dev_ids", o->gpu_dev_ids, { SOURCE_CUDA, SOURCE_HIP } },
	};
	enum source chosen = o->source;
	unsigned int i;

	if (o->out_of_range)
		return refuse(td, EINVAL, "the value of %s= is negative or too large: give one that can be", o->out_of_range);
	for (i = 0; i < FIO_ARRAY_SIZE(rows); i++) {
		if (!rows[i].given)
			continue;
		if (!chosen)
			chosen = rows[i].of[0];
		if (chosen != rows[i].of[0] && chosen != rows[i].of[1])
			return refuse(td, EINVAL, "%s= is for source=%s%s%s, and the source is %s: leave out one of them", rows[i].option,
				      sources[rows[i].of[0]]->name, rows[i].of[1] ? " or " : "",
				      rows[i].of[1] ? sources[rows[i].of[1]]->name : "", sources[chosen]->name);
	}
	job->source = sources[chosen ? chosen : SOURCE_UDMABUF];
	return 0;
}

/* Refuse what a source cannot be asked for. */
static int refuse_source(struct thread_data *td, const struct source_ops *source)
{
	const struct options *o = td->eo;

	if (!source->pinnable && o->registration != REGISTER_DMABUF)
		return refuse(td, EINVAL, "the kernel cannot pin memory of source=%s, only import it: use registration=dmabuf, or source=udmabuf",
			      source->name);
	if (!source->pinnable && o->page_size != SMALL_PAGE)
		return refuse(td, EINVAL, "source=%s has pages of its own: pages= goes with source=udmabuf", source->name);
	if (source->single && o->dmabuf_size)
		return refuse(td, EINVAL, "source=%s is one dma-buf for each job: leave out dmabuf_size", source->name);
	if (source == &source_fd && !o->dmabuf_fd_set == !o->dmabuf_socket)
		return refuse(td, EINVAL, "source=fd takes its dma-buf from a descriptor or from a socket: say which with dmabuf_fd= or dmabuf_socket=");
	if (o->dmabuf_offset % SMALL_PAGE)
		return refuse(td, EINVAL, "dmabuf_offset=%llu is not a multiple of %u, and a part of a dma-buf begins with a page",
			      o->dmabuf_offset, SMALL_PAGE);
	return 0;
}

/* A CPU that a thread can be bound to. */
static bool cpu_is_there(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return sched_getaffinity(0, sizeof(set), &set) || (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set));
}

static int refuse_ring(struct thread_data *td, const struct ring_options *ro, int err)
{
	switch (err) {
	case ENOSYS:
	case EPERM:
		return refuse(td, err, "io_uring is not available (%s): build the kernel with CONFIG_IO_URING and set /proc/sys/kernel/io_uring_disabled to 0",
			      strerror(err));
	case ENOMEM:
		return refuse(td, err, "no memory for a ring of %u entries: lower iodepth, or raise the memlock limit", ro->entries);
	case EMFILE:
	case ENFILE:
		return refuse(td, err, "no descriptor is left for a ring (%s): raise the limit on open files (ulimit -n), or lower nrfiles or numjobs",
			      strerror(err));
	case EINVAL:
		if (ro->entries > RING_MAX_ENTRIES)
			return refuse(td, err, "a ring of io_uring has at most %u entries and not %u: lower iodepth, and use numjobs for more",
				      RING_MAX_ENTRIES, ro->entries);
		if (ro->sqpoll && ro->sqpoll_cpu >= 0 && !cpu_is_there(ro->sqpoll_cpu))
			return refuse(td, err, "sqthread_poll_cpu=%d is no CPU that this job may use: name one of `taskset -cp $$`", ro->sqpoll_cpu);
	}
	return refuse(td, err, "cannot set up a ring of %u entries%s%s%s: %s", ro->entries, ro->commands ? " for commands, which needs Linux 5.19," : "",
		      ro->iopoll ? " with hipri" : "", ro->sqpoll ? " with sqthread_poll" : "", strerror(err));
}

/* Before there is memory, so that what the kernel cannot do is said first. */
static int open_ring(struct thread_data *td, struct job *job)
{
	struct options *o = td->eo;
	struct ring_options ro = {
		.entries = td->o.iodepth,
		.commands = job->namespaces,
		.iopoll = o->hipri,
		.sqpoll = o->sqpoll,
		.sqpoll_cpu = o->sqpoll_cpu_set ? (int)o->sqpoll_cpu : -1,
		.reissue = !o->nowait,
		.stop = &td->terminate,
	};
	int ret = ring_open(&job->ring, &ro);

	if (ret)
		return refuse_ring(td, &ro, -ret);
	if (!td_read(td) && !td_write(td))
		return 0;
	switch (o->registration) {
	case REGISTER_USER:
		if (ring_probe_table(&job->ring, ro.entries) == -EINVAL)
			return refuse(td, EINVAL, "io_uring does not register as many as %u buffers, one for each I/O: lower iodepth (to 16384), or use registration=none",
				      ro.entries);
		break;
	case REGISTER_DMABUF:
		ret = ring_probe_dmabuf(&job->ring);
		if (ret)
			return refuse(td, -ret, "this kernel's io_uring cannot register dma-bufs (%s): boot one that has the feature, built with CONFIG_DMA_SHARED_BUFFER",
				      strerror(-ret));
	}
	return 0;
}

/*
 * fio looks for the file of external:NAME in the current directory, and then has
 * the loader look for NAME in its own places: whether that is another one.
 */
static bool is_another_file(const struct print_option *typed, const struct self *self)
{
	const char *loaded = strrchr(self->path, '/');

	return !strcmp(typed->name, "ioengine") && typed->value && !strncmp(typed->value, "external:", 9) &&
	       loaded && !strcmp(typed->value + 9, loaded + 1) && self_is_another(self, loaded + 1);
}

/* By what was typed: ->ioengine_so_path is freed by now. */
static int refuse_another_file(struct thread_data *td, const struct self *self)
{
	const struct print_option *typed, *wrong = NULL;
	struct flist_head *entry;
	bool own = false;

	flist_for_each(entry, &td->opt_list) {
		typed = flist_entry(entry, struct print_option, list);
		if (strcmp(typed->name, "ioengine"))
			continue;
		own = true;
		wrong = is_another_file(typed, self) ? typed : NULL;
	}
	flist_for_each(entry, &get_global_options()->opt_list) {
		typed = flist_entry(entry, struct print_option, list);
		if (!own && is_another_file(typed, self))
			wrong = typed;
	}
	if (!wrong)
		return 0;
	return refuse(td, ELIBACC, "%s is a file of this directory, and the loader took %s, build %s, in its place: write external:./%s for this one, or --ioengine=%s for that one",
		      wrong->value, self->path, self->build, wrong->value + 9, wrong->value + 9);
}

/* --- /dev/ngXnY --- */

/* Its files take commands, and neither reads nor writes. */
static bool takes_commands(const struct fio_file *f)
{
	struct stat st;

	return f->filetype == FIO_TYPE_CHAR && !stat(f->file_name, &st) && nvme_is_generic(st.st_rdev);
}

static int refuse_cmd_type(struct thread_data *td, const struct fio_file *f)
{
	return refuse(td, EINVAL, "cmd_type=nvme is for NVMe generic character devices, /dev/ngXnY, and %s is none", f->file_name);
}

/* What files have and commands have not, and the other way round. */
static int refuse_for_commands(struct thread_data *td)
{
	const struct options *o = td->eo;

	if (td_trim(td) || td->o.trim_percentage)
		return refuse(td, EINVAL, "commands here are reads, writes and flushes: for trims name the block device and not /dev/ngXnY");
	if (td->o.bs_unaligned)
		return refuse(td, EINVAL, "bs_unaligned=1 makes blocks that are not whole blocks of the device, and commands name no others: leave it out");
	if (o->nowait)
		return refuse(td, EINVAL, "nowait=1 is a flag of reads and writes, which commands have not: leave it out, or name the block device and not /dev/ngXnY");
	if (td->o.sync_io)
		return refuse(td, EINVAL, "sync= is a flag of files, of which the commands to /dev/ngXnY know nothing: use writefua=1, or fsync=1");
	if (td->o.sync_file_range)
		return refuse(td, EINVAL, "sync_file_range= is about the page cache, and /dev/ngXnY has none: use fsync=");
	return 0;
}

static int refuse_cmdprio(struct thread_data *td)
{
	return refuse(td, EINVAL, "io_uring takes no priority with a command: leave out the cmdprio options (prio= and prioclass= of the job count), or name the block device and not /dev/ngXnY");
}

static int refuse_part(struct thread_data *td, const struct fio_file *f, const struct nvme_ns *ns, const char *option, unsigned long long value)
{
	return refuse(td, EINVAL, "%s=%llu is not a multiple of the %u bytes of a block of %s: choose one that is", option, value,
		      1 << ns->shift, f->file_name);
}

/* Blocks of the job have to be such as one command takes. */
static int check_blocks(struct thread_data *td, const struct fio_file *f, const struct nvme_ns *ns, enum fio_ddir ddir)
{
	const struct options *o = td->eo;
	bool dmabuf = o->registration == REGISTER_DMABUF && ns->max_dmabuf;
	unsigned long long most = dmabuf ? ns->max_dmabuf : ns->max ? ns->max : 65536ull << ns->shift;	/* it counts blocks in 16 bits */
	const struct { const char *option; unsigned long long value; } rows[] = {
		{ "bs", td->o.min_bs[ddir] }, { "bs", td->o.max_bs[ddir] }, { "blockalign", td->o.ba[ddir] }, { "offset", f->file_offset },
	};
	unsigned int i;

	for (i = 0; i < FIO_ARRAY_SIZE(rows); i++)
		if (rows[i].value % (1 << ns->shift))
			return refuse_part(td, f, ns, rows[i].option, rows[i].value);
	for (i = 0; i < td->o.bssplit_nr[ddir]; i++)
		if (td->o.bssplit[ddir][i].bs % (1 << ns->shift))
			return refuse_part(td, f, ns, "bssplit", td->o.bssplit[ddir][i].bs);
	if (td->o.max_bs[ddir] > most)
		return refuse(td, EINVAL, "bs=%llu is more than the %llu bytes that one command of %s moves (queue/%s of %s): use a smaller one, or the block device, which splits",
			      td->o.max_bs[ddir], most, f->file_name, dmabuf ? "max_hw_dmabuf_sectors_kb" : "max_hw_sectors_kb", ns->block);
	return 0;
}

/* Whether files take commands: all, or none. */
static int find_commands(struct thread_data *td, struct job *job)
{
	const struct options *o = td->eo;
	const struct fio_file *command = NULL, *other = NULL;
	struct fio_file *f;
	struct error e;
	unsigned int i;
	int ret;

	for_each_file(td, f, i)
		*(takes_commands(f) ? &command : &other) = f;
	if (o->cmd_type && other)
		return refuse_cmd_type(td, other);
	if (command && other)
		return refuse(td, EINVAL, "%s takes commands, and %s does not: a job has files of one kind, so make it two jobs", command->file_name, other->file_name);
	if (!command) {
		if (o->readfua || o->writefua)
			return refuse(td, EINVAL, "%s=1 is a bit of NVMe commands: name /dev/ngXnY, which takes them", o->readfua ? "readfua" : "writefua");
		return 0;
	}
	if (refuse_for_commands(td))
		return 1;
	job->namespaces = calloc(td->files_index, sizeof(*job->namespaces));
	if (!job->namespaces)
		return refuse(td, ENOMEM, "no memory for %u files", td->files_index);
	for_each_file(td, f, i) {
		ret = nvme_ask(f->file_name, &job->namespaces[i], &e);
		if (ret)
			return refuse(td, -ret, "%s", e.text);
		if ((td_read(td) && check_blocks(td, f, &job->namespaces[i], DDIR_READ)) ||
		    (td_write(td) && check_blocks(td, f, &job->namespaces[i], DDIR_WRITE)))
			return 1;
	}
	return 0;
}

static int refuse_vectors(struct thread_data *td, const struct job *job)
{
	struct io_uring_probe *probe;
	bool known;

	if (job->namespaces)
		return refuse(td, EINVAL, "nonvectored=0 is about reads and writes: leave it out, or name the block device and not /dev/ngXnY");
	probe = io_uring_get_probe();
	known = probe && io_uring_opcode_supported(probe, job->opcode[DDIR_WRITE]);
	io_uring_free_probe(probe);
	return known ? 0 : refuse(td, EINVAL, "this kernel has no vectors of registered buffers, which nonvectored=0 makes: leave it out, or boot Linux 6.15 or later");
}

static void choose_opcodes(const struct options *o, struct job *job)
{
	static const uint8_t opcodes[2][2][2] = {	/* by vectored, registered, data direction */
		{ { IORING_OP_READ, IORING_OP_WRITE }, { IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED } },
		{ { IORING_OP_READV, IORING_OP_WRITEV }, { OP_READV_FIXED, OP_WRITEV_FIXED } },
	};

	job->vectored = !o->nonvectored;
	memcpy(job->opcode, opcodes[job->vectored][!!o->registration], sizeof(job->opcode));
	if (job->namespaces) {
		job->opcode[DDIR_READ] = NVME_READ;
		job->opcode[DDIR_WRITE] = NVME_WRITE;
	}
	job->fua[DDIR_READ] = o->readfua ? NVME_FUA : 0;
	job->fua[DDIR_WRITE] = o->writefua ? NVME_FUA : 0;
}

/* Refuse what cannot work, before there is memory. */
static int set_up(struct thread_data *td)
{
	struct options *o = td->eo;
	struct job *job;
	struct fio_file *f;
	unsigned int i;

	job = calloc(1, sizeof(*job));
	if (!job)
		return refuse(td, ENOMEM, "no memory for the job");
	td->io_ops_data = job;
	self_find(&job->self);
	dprint(FD_IO, "dmabuf: %s, build %s, for " FIO_VERSION "\n", job->self.path, job->self.build);
	if (refuse_another_file(td, &job->self) || choose_source(td, job) || refuse_source(td, job->source))
		return 1;
	if (o->require_p2p && o->registration != REGISTER_DMABUF)
		return refuse(td, EINVAL, "require_p2p=1 is about dma-bufs of other devices: use registration=dmabuf, or leave it out");
	if (td->o.read_iolog_chunked)
		return refuse(td, EINVAL, "read_iolog_chunked=1 may add files and larger blocks in mid-run: replay the whole log with read_iolog_chunked=0");
	if (find_commands(td, job))
		return 1;
	if (td->o.bs_unaligned && td->o.odirect)
		return refuse(td, EINVAL, "bs_unaligned=1 makes blocks that are not whole logical blocks of the device, and direct I/O takes no others: leave it out, and blocks of bsrange= are multiples of its lower end");
	if (o->registration == REGISTER_DMABUF && !job->namespaces) {
		if (!td->o.odirect)
			return refuse(td, EINVAL, "registration=dmabuf needs direct=1: no CPU copies the data");
		for_each_file(td, f, i)
			if (f->filetype != FIO_TYPE_BLOCK && f->filetype != FIO_TYPE_FILE)
				return refuse(td, EINVAL, "%s is neither a block device nor a regular file: registration=dmabuf needs one, or /dev/ngXnY, registration=user does not",
					      f->file_name);
	}
	choose_opcodes(o, job);
	if (job->vectored && refuse_vectors(td, job))
		return 1;
	job->force_async = o->force_async;
	if (fio_cmdprio_init(td, &job->cmdprio, &o->cmdprio))
		return refuse(td, EINVAL, "the cmdprio options do not go together: cmdprio_percentage and cmdprio_bssplit exclude each other");
	if (job->namespaces && job->cmdprio.mode != CMDPRIO_MODE_NONE)
		return refuse_cmdprio(td);
	return open_ring(td, job);
}

/* ->init: in the job's thread. */
static int dmabuf_init(struct thread_data *td)
{
	if (!set_up(td))
		return 0;
	td->o.iodepth = 1;	/* fio would guess that this is too high, and we have said why */
	return 1;
}

/* ->iomem_alloc: the memory is the same for every registration. */
static int dmabuf_iomem_alloc(struct thread_data *td, size_t total)
{
	struct options *o = td->eo;
	struct job *job = td->io_ops_data;
	struct source_args args = {
		.exported = o->registration == REGISTER_DMABUF,
		.page = o->page_size & ~1u,
		.thp = o->page_size == PAGES_THP,
		.scattered = o->page_size == PAGES_SCATTERED,
		.heap = o->heap ? o->heap : "system",
		.drm_node = o->drm_node ? o->drm_node : "/dev/dri/card0",
		.vfio_device = o->vfio_device,
		.vfio_region = o->vfio_region,
		.socket = o->dmabuf_socket,
		.fd = o->dmabuf_fd,
		.offset = o->dmabuf_offset,
		.clone = o->dmabuf_socket ? 0 : td->subjob_number,
		.gpu_ids = o->gpu_dev_ids,
		.job = td->subjob_number,
		.stop = &td->terminate,
	};
	size_t bs = td_max_bs(td);
	struct error e;
	int ret;

	ret = buffers_get(&job->buffers, job->source, &args, bs,
			  bs * td->o.iodepth + td->o.mem_align, o->dmabuf_size, &e);
	if (ret)
		return refuse(td, -ret, "%s", e.text);
	if (job->buffers.nr > 1 && td->o.mem_align) {
		size_t part = job->buffers.part;

		buffers_put(&job->buffers);	/* ->post_init sees by this that it was refused */
		return refuse(td, EINVAL, "iomem_align= moves blocks across the ends of dma-bufs: leave it out, or make all fit into one (here %zu bytes each)",
			      part);
	}
	td->orig_buffer = job->buffers.addr;
	return 0;
}

/* No flag of a file concerns commands, and the kernel refuses O_DIRECT there. */
static int open_file(struct thread_data *td, struct fio_file *f)
{
	struct job *job = td->io_ops_data;
	unsigned int direct = td->o.odirect;
	int ret;

	if (job && job->namespaces)
		td->o.odirect = 0;
	ret = generic_open_file(td, f);
	td->o.odirect = direct;
	return ret;
}

/* fio forgets direct=1 where trims are among the writes. */
static int make_direct(struct thread_data *td, int fd)
{
	struct job *job = td->io_ops_data;
	int flags = fcntl(fd, F_GETFL);

	if (job && job->namespaces)
		return 0;
	if (flags < 0)
		return -1;
	return !td->o.odirect || flags & O_DIRECT ? 0 : fcntl(fd, F_SETFL, flags | O_DIRECT);
}

/*
 * A descriptor that is ours, for the struct file that fio opens for @f; what fio
 * knows of it is as before.
 */
static int hold_file(struct thread_data *td, struct fio_file *f)
{
	int fd = -1, err, fio_unused ret;

	if (open_file(td, f)) {
		err = td->error;
	} else {
		fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		err = errno;
		ret = generic_close_file(td, f);
	}
	if (fd < 0 && (err == EMFILE || err == ENFILE))
		refuse(td, err, "cannot hold %u files open (%s): raise the limit on open files (ulimit -n), lower nrfiles, or let fio open and close them with registerfiles=0 (not with registration=dmabuf)",
		       td->files_index, strerror(err));
	else if (fd < 0)
		refuse(td, err, "cannot open %s: %s", f->file_name, strerror(err));
	else if (make_direct(td, fd)) {
		refuse(td, errno, "%s cannot do direct I/O: %s", f->file_name, strerror(errno));
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * A dma-buf is registered for one struct file, and so is an entry in the table of
 * registered files: with either, files are open from here to the end of the job,
 * whatever fio opens and closes between.
 */
static int hold_files(struct thread_data *td, struct job *job)
{
	const struct options *o = td->eo;
	struct fio_file *f;
	unsigned int i;
	int fd;

	job->registered_files = o->registerfiles_set ? o->registerfiles :
		o->registration == REGISTER_DMABUF || (td->o.open_files >= td->o.nr_files && !td->o.unlink_each_loop);
	if (!job->registered_files && o->registration != REGISTER_DMABUF && !job->namespaces)
		return 0;
	for_each_file(td, f, i)
		if (td->o.unlink_each_loop && f->filetype == FIO_TYPE_FILE)	/* nobody unlinks a device */
			return refuse(td, EINVAL, "unlink_each_loop=1 has files come and go, and %s: use %s",
				      o->registration == REGISTER_DMABUF ? "a dma-buf is registered for one that stays" : "registered ones stay",
				      o->registration == REGISTER_DMABUF ? "unlink=1" : "registerfiles=0");
	job->fds = calloc(td->files_index, sizeof(*job->fds));
	if (!job->fds)
		return refuse(td, ENOMEM, "no memory for %u files", td->files_index);
	for_each_file(td, f, i) {
		fd = hold_file(td, f);
		if (fd < 0)
			return 1;
		f->engine_pos = i;
		job->fds[job->nr_files++] = fd;
	}
	return 0;
}

static int register_files(struct thread_data *td, struct job *job)
{
	int ret = job->registered_files ? ring_register_files(&job->ring, job->fds, job->nr_files) : 0;

	if (ret)
		return refuse(td, -ret, "cannot register %u files (%s): raise the limit on open files, or use registerfiles=0",
			      job->nr_files, strerror(-ret));
	return 0;
}

/* One iovec per I/O unit, as fio's own io_uring engine has with fixedbufs. */
static int register_users(struct thread_data *td, struct job *job)
{
	struct iovec *v = calloc(td->o.iodepth, sizeof(*v));
	struct rlimit limit = { 0 };
	struct timespec start;
	unsigned int i;
	int ret;

	if (!v)
		return refuse(td, ENOMEM, "no memory for %u iovecs", td->o.iodepth);
	for (i = 0; i < td->o.iodepth; i++) {
		v[i].iov_base = job->io_us[i]->buf;
		v[i].iov_len = td_max_bs(td);
		job->units[i].slot = i;
	}
	fio_gettime(&start, NULL);
	ret = ring_register_users(&job->ring, v, td->o.iodepth);
	job->register_us = utime_since_now(&start);
	free(v);
	if (ret == -ENOMEM) {
		getrlimit(RLIMIT_MEMLOCK, &limit);
		return refuse(td, ENOMEM, "cannot lock %llu bytes of buffers: RLIMIT_MEMLOCK is %llu, raise it (ulimit -l) or run with CAP_IPC_LOCK",
			      (unsigned long long)td_max_bs(td) * td->o.iodepth,
			      (unsigned long long)limit.rlim_cur);
	}
	if (ret)
		return refuse(td, -ret, "cannot register %u buffers: %s", td->o.iodepth, strerror(-ret));
	return 0;
}

/* An NVMe multipath head is a virtual device below nvme-subsystem. */
static bool is_multipath_head(int fd)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st))
		return false;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	return strstr(path, "/nvme-subsystem/");
}

static int refuse_commands_of(struct thread_data *td, const char *name, const struct nvme_ns *ns)
{
	if (ns->head)
		return refuse(td, EOPNOTSUPP, "%s is the character device of an NVMe multipath head, and not one of its paths takes dma-bufs for it: boot a kernel with the series of this project, or with nvme_core.multipath=N, and use paths on PCI, or use registration=user",
			      name);
	return refuse(td, EOPNOTSUPP, "%s takes no dma-bufs for its commands: boot a kernel with the series of this project and use a PCI NVMe device, name its block device (%s), or use registration=user",
		      name, ns->block[0] ? ns->block : "/dev/nvmeXnY");
}

/* The reason that sysfs knows of, of those for which the kernel has one errno. */
static bool find_reason(int fd, const struct buffer *b, struct error *e)
{
	char disk[PATH_MAX], peer[PATH_MAX];

	return b->pci[0] && strcmp(buffer_place(b), "system") && reach_find(b->pci, peer, sizeof(peer)) &&
	       reach_find_open(fd, disk, sizeof(disk)) && reach_why_not(disk, peer, b->size, e);
}

static int refuse_dmabuf(struct thread_data *td, struct job *job, unsigned int file, int err)
{
	const char *name = td->files[file]->file_name;
	const struct buffer *b = &job->buffers.v[0];
	bool unreachable = err == EINVAL || err == EOPNOTSUPP || err == EREMOTEIO;
	struct error e;

	if (unreachable && find_reason(job->fds[file], b, &e))
		return refuse(td, err, "%s cannot reach memory of %s peer-to-peer (%s): %s", name, b->exporter, strerror(err), e.text);
	if (unreachable && !strcmp(buffer_place(b), "peer-to-peer"))
		return refuse(td, err, "%s cannot reach memory of %s peer-to-peer (%s): put both below one PCIe switch or a host bridge that the kernel trusts (CONFIG_PCI_P2PDMA), and use a driver that takes dma-bufs",
			      name, b->exporter, strerror(err));
	if ((err == EOPNOTSUPP || err == EIO) && buffer_transfers_bounce())
		return refuse(td, err, "%s takes no dma-bufs where devices reach memory through bounce buffers (%s), as they see other bytes than the CPU: boot without swiotlb=force, or, in an encrypted guest, use registration=user",
			      name, strerror(err));
	switch (err) {
	case EOPNOTSUPP:
		if (job->namespaces)
			return refuse_commands_of(td, name, &job->namespaces[file]);
		if (is_multipath_head(job->fds[file]))
			return refuse(td, err, "%s is an NVMe multipath head, and not one of its paths takes dma-bufs for it: boot a kernel with the series of this project, or with nvme_core.multipath=N, and use paths on PCI", name);
		if (td->files[file]->filetype == FIO_TYPE_FILE)
			return refuse(td, err, "the file system of %s cannot take dma-bufs, not for such a file, or not on this disk: use XFS or ext4 on a PCI NVMe device and a kernel with the series of this project, or registration=user", name);
		return refuse(td, err, "%s cannot take dma-bufs: use a PCI NVMe device, or a linear or striped volume or RAID 0 over some, or registration=user", name);
	case EINVAL:
		return refuse(td, err, "%s refused the dma-buf (%s): its memory must come in multiples of 4 KiB%s", name, strerror(err),
			      job->namespaces ? "" : ", and the file must be open with O_DIRECT");
	case EIO:
		return refuse(td, err, "the dma-buf cannot be mapped for %s (%s): its exporter, %s, failed; the kernel's log may say why",
			      name, strerror(err), b->exporter);
	case ENOMEM:
		return refuse(td, err, "no memory to register %zu bytes with %s: use smaller buffers or a lower iodepth",
			      job->buffers.part, name);
	}
	return refuse(td, err, "cannot register the dma-buf with %s: %s", name, strerror(err));
}

/* What drivers do in silence: put the memory elsewhere, so that it can be reached. */
static int require_p2p(struct thread_data *td, struct job *job)
{
	const struct buffer *b = &job->buffers.v[0];
	struct told t;

	told_ask(job->ring.uring.ring_fd, job->buffers.nr, &t);
	if (!t.nr)
		return refuse(td, EOPNOTSUPP, "require_p2p=1: this kernel does not tell whose memory a registered dma-buf is (/proc/self/fdinfo): boot one with the series of this project, or leave it out");
	if (strcmp(t.memory, "peer"))
		return refuse(td, EREMOTEIO, "require_p2p=1: memory of %s is %s memory for %s, and not another device's: its driver keeps it there, or has moved it for want of a way to the device",
			      b->exporter, t.memory, td->files[0]->file_name);
	return 0;
}

static int register_dmabufs(struct thread_data *td, struct job *job)
{
	struct buffers *bs = &job->buffers;
	unsigned int slots = bs->nr * job->nr_files;
	struct timespec start;
	struct error e;
	unsigned int i, n;
	int ret;

	fio_gettime(&start, NULL);
	ret = buffers_export(bs, &e);
	if (ret)
		return refuse(td, -ret, "%s", e.text);
	job->export_us = utime_since_now(&start);

	ret = ring_register_table(&job->ring, slots);
	if (ret)
		return refuse(td, -ret, "cannot make a table of %u buffers (%s): use a larger dmabuf_size, or fewer files",
			      slots, strerror(-ret));

	fio_gettime(&start, NULL);
	for (i = 0; i < job->nr_files; i++) {
		for (n = 0; n < bs->nr; n++) {
			ret = ring_register_dmabuf(&job->ring, i * bs->nr + n, bs->v[n].dmabuf, job->fds[i]);
			if (ret)
				return refuse_dmabuf(td, job, i, -ret);
		}
	}
	job->register_us = utime_since_now(&start);
	return ((struct options *)td->eo)->require_p2p ? require_p2p(td, job) : 0;
}

static int refuse_copy(struct thread_data *td, const struct buffer *b, int err)
{
	struct error e;

	if (!buffer_why(b, &e))
		error_set(&e, err, "%s", strerror(err));
	return refuse(td, err, "what fio writes cannot be put into the memory of %s (%s): use another device or source", b->exporter, e.text);
}

/*
 * fio's buffers are not the dma-buf: ->queue and ->event copy what verify= looks
 * at and what is made anew for each write, and nothing else, so that what is
 * measured is the device. What fio has filled them with goes there once.
 */
static int set_up_shadow(struct thread_data *td, struct job *job)
{
	const struct buffer *b = &job->buffers.v[0];
	bool refills = td_write(td) && td->flags & (TD_F_REFILL_BUFFERS | TD_F_COMPRESS);
	unsigned int n;
	int ret = 0;

	if (!buffer_accessible(b)) {
		if (td->o.verify != VERIFY_NONE)
			return refuse(td, EOPNOTSUPP, "the CPU cannot map this dma-buf of %s, and verify= has to see what is in it: leave out verify=, or use memory that can be mapped",
				      b->exporter);
		if (td_write(td) && (td->o.zero_buffers || td->o.buffer_pattern_bytes || refills))
			return refuse(td, EOPNOTSUPP, "the CPU cannot map this dma-buf of %s, and writes carry what is in it: leave out zero_buffers, buffer_pattern, refill_buffers, compression and dedupe, or use memory that can be mapped",
				      b->exporter);
		return 0;
	}
	job->cpu_sync = td->o.verify != VERIFY_NONE || refills;
	for (n = 0; td_write(td) && n < job->buffers.nr && !ret; n++) {
		b = &job->buffers.v[n];
		ret = buffer_cpu_end(b, b->addr, b->size);
	}
	if (ret)
		return refuse_copy(td, b, -ret);
	return 0;
}

/*
 * Who touches the buffers when. fio has filled them if it writes: one bracket at
 * the start hands that to the device. If it goes on to touch them between I/Os,
 * the CPU keeps them from here and ->queue and ->event pass them to and fro; for
 * writes only where that has an effect, as no other registration pays for it.
 */
static int set_up_cpu_sync(struct thread_data *td, struct job *job)
{
	struct options *o = td->eo;
	bool fills = td_write(td) && (td->flags & (TD_F_SCRAMBLE_BUFFERS | TD_F_REFILL_BUFFERS | TD_F_COMPRESS)), touches;
	unsigned int n;
	int ret = 0;

	if (job->buffers.v[0].shadow)
		return set_up_shadow(td, job);
	touches = td->o.verify != VERIFY_NONE || (fills && !buffer_needs_no_brackets(&job->buffers.v[0]));
	job->cpu_sync = o->cpu_sync == CPU_SYNC_ON || (o->cpu_sync == CPU_SYNC_AUTO && touches);
	if (!job->cpu_sync && (o->cpu_sync == CPU_SYNC_OFF || !td_write(td)))
		return 0;
	for (n = 0; n < job->buffers.nr && !ret; n++) {
		ret = buffer_cpu_begin(&job->buffers.v[n], NULL, 0);
		if (!ret && !job->cpu_sync)
			ret = buffer_cpu_end(&job->buffers.v[n], NULL, 0);
	}
	if (ret)
		return refuse(td, -ret, "DMA_BUF_IOCTL_SYNC failed (%s): the memory's driver does not allow CPU access, cpu_sync=off leaves it out",
			      strerror(-ret));
	return 0;
}

static int register_buffers(struct thread_data *td, struct job *job)
{
	struct options *o = td->eo;

	switch (o->registration) {
	case REGISTER_USER:
		return register_users(td, job);
	case REGISTER_DMABUF:
		return register_dmabufs(td, job) || set_up_cpu_sync(td, job);
	}
	return 0;
}

/* ->post_init: files, ring and registrations, now that memory is in place. */
static int dmabuf_post_init(struct thread_data *td)
{
	struct options *o = td->eo;
	struct job *job = td->io_ops_data;
	bool memory = td_read(td) || td_write(td);
	unsigned int i;

	/* fio goes on when ->iomem_alloc fails; the reason has been given */
	if (memory && !job->buffers.nr)
		return 1;

	job->io_us = td->io_u_all.io_us;
	job->units = calloc(td->o.iodepth, sizeof(*job->units));
	if (!job->units)
		return refuse(td, ENOMEM, "no memory for %u I/O units", td->o.iodepth);
	if (hold_files(td, job) || register_files(td, job))
		return 1;

	for (i = 0; i < td->o.iodepth; i++) {
		job->io_us[i]->mmap_data = td;	/* for errdetails; engine_data is ->index */
		if (!memory || o->registration != REGISTER_DMABUF)
			continue;
		job->units[i].buffer = buffers_find(&job->buffers, job->io_us[i]->buf);
		job->units[i].base = (uintptr_t)job->units[i].buffer->addr - job->units[i].buffer->offset;
		job->units[i].slot = job->units[i].buffer - job->buffers.v;
	}
	if (memory && register_buffers(td, job))
		return 1;
	job->odd = job->vectored || job->cpu_sync || job->force_async || job->cmdprio.mode != CMDPRIO_MODE_NONE;
	job->started = true;
	return 0;
}

/*
 * fio opens and closes at will; descriptors that are held stay. Before there is a
 * job, it opens a file to learn its size.
 */
static int dmabuf_open_file(struct thread_data *td, struct fio_file *f)
{
	struct job *job = td->io_ops_data;
	int fio_unused ret;

	if (job && job->started && job->fds) {
		f->fd = job->fds[f->engine_pos];
		return 0;
	}
	if (generic_open_file(td, f))
		return 1;
	if (!make_direct(td, f->fd))
		return 0;
	refuse(td, errno, "%s cannot do direct I/O: %s", f->file_name, strerror(errno));
	ret = generic_close_file(td, f);
	return 1;
}

static int dmabuf_close_file(struct thread_data *td, struct fio_file *f)
{
	struct job *job = td->io_ops_data;

	if (!job || !job->started || !job->fds)
		return generic_close_file(td, f);
	f->fd = -1;
	return 0;
}

/* ->get_file_size: in fio's first process, before there is a job. */
static int dmabuf_get_file_size(struct thread_data *td, struct fio_file *f)
{
	const struct options *o = td->eo;
	struct nvme_ns ns;
	struct error e;
	int ret;

	if (!takes_commands(f))
		return o->cmd_type ? refuse_cmd_type(td, f) : generic_get_file_size(td, f);
	if (fio_file_size_known(f))
		return 0;
	ret = nvme_ask(f->file_name, &ns, &e);
	if (ret)
		return refuse(td, -ret, "%s", e.text);
	f->real_file_size = ns.bytes;
	fio_file_set_size_known(f);
	return 0;
}

/* Undo all; takes a job that stopped anywhere on the way up, and none. */
static void tear_down(struct job *job)
{
	unsigned int i;

	ring_close(&job->ring);
	for (i = 0; i < job->nr_files; i++)
		close(job->fds[i]);
	job->nr_files = 0;
	free(job->fds);
	job->fds = NULL;
	free(job->namespaces);
	job->namespaces = NULL;
	free(job->units);
	job->units = NULL;
	if (job->buffers.nr)
		buffers_put(&job->buffers);
}

/* How fio's buffers and the memory are one. */
static const char *cpu_access(const struct thread_data *td, const struct job *job)
{
	if (!job->buffers.nr || !job->buffers.v[0].shadow)
		return "direct";
	if (job->cpu_sync)
		return "copy";
	return td_write(td) && buffer_accessible(&job->buffers.v[0]) ? "once" : "none";
}

/* A path as one word, with blanks as /proc/mounts has them. */
static void print_word(char *word, size_t size, const char *path)
{
	size_t n = 0;

	for (; *path && n + 5 < size; path++) {
		if (strchr(" \t\n\\", *path))
			n += sprintf(word + n, "\\%03o", *path);
		else
			word[n++] = *path;
	}
	word[n] = '\0';
}

/* Of the jobs that numjobs= makes and group_reporting joins, those that differ from the first. */
static bool worth_saying(const struct thread_data *td, const struct job *job)
{
	const struct options *o = td->eo;

	if (o->summary == SUMMARY_AUTO)
		return !td->o.group_reporting || !td->subjob_number || job->ring.reissued;
	return o->summary == SUMMARY_ALL;
}

/* Whose memory it is: as the kernel has it, or as far as the exporter's name tells. */
static const char *memory_of(const struct job *job, const struct told *t)
{
	if (!t->nr)
		return buffer_place(&job->buffers.v[0]);
	return !strcmp(t->memory, "peer") ? "peer-to-peer" : t->memory;
}

/* One line of name=value words. */
static void report(const struct thread_data *td, const struct job *job)
{
	const struct options *o = td->eo;
	const struct buffers *bs = &job->buffers;
	unsigned int registrations[] = {
		[REGISTER_USER] = bs->nr ? td->o.iodepth : 0,
		[REGISTER_DMABUF] = bs->nr * job->nr_files,
	};
	bool dmabuf = o->registration == REGISTER_DMABUF && bs->nr;
	struct told t = { 0 };
	char engine[PATH_MAX];
	size_t bytes = 0;
	unsigned int i;

	for (i = 0; i < bs->nr; i++)
		bytes += bs->v[i].size;
	print_word(engine, sizeof(engine), job->self.path);
	if (dmabuf)
		told_ask(job->ring.uring.ring_fd, bs->nr, &t);
	say("dmabuf: job=%s registration=%s source=%s exporter=%s memory=%s addresses=%s page=%zu buffers=%u bytes=%zu registrations=%u export_us=%llu register_us=%llu cpu=%s cpu_sync=%d eagain_reissues=%llu maps_rebuilt=%llu engine=%s build=%s\n",
	    td->o.name, registration_names[o->registration], job->source->name,
	    dmabuf ? bs->v[0].exporter : "none", dmabuf ? memory_of(job, &t) : "system",
	    dmabuf ? t.nr ? t.addresses : "unknown" : "none",
	    bs->page, bs->nr, bytes, registrations[o->registration],
	    (unsigned long long)job->export_us, (unsigned long long)job->register_us, cpu_access(td, job), job->cpu_sync,
	    (unsigned long long)job->ring.reissued, (unsigned long long)t.rebuilt, engine, job->self.build);
	if (o->require_p2p && t.nr && strcmp(t.memory, "peer"))
		say("dmabuf: %s: require_p2p=1: the memory was another device's at the start and is %s memory at the end: its driver has moved it\n",
		    td->o.name, t.memory);
	if (job->cpu_sync && !bs->v[0].shadow && o->cpu_sync == CPU_SYNC_AUTO && td->o.verify == VERIFY_NONE)
		say("dmabuf: %s: fio changes each buffer that it writes, so each I/O paid two system calls that hand a dma-buf from the CPU to a device, which no other registration does: compare with scramble_buffers=0\n",
		    td->o.name);
}

/* ->iomem_free comes before ->cleanup, and both come after any failure. */
static void dmabuf_iomem_free(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (!job)
		return;
	if (job->started && worth_saying(td, job))
		report(td, job);
	job->started = false;
	tear_down(job);
	td->orig_buffer = NULL;
}

static void dmabuf_cleanup(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (!job)
		return;
	tear_down(job);
	fio_cmdprio_cleanup(&job->cmdprio);
	free(job);
	td->io_ops_data = NULL;
}

/*
 * fio takes what is behind a '-' for a second value and forgets that the first
 * was refused: remember it, and refuse the job.
 */
static int set_number(struct options *o, const char *option, unsigned long long value, unsigned long long max)
{
	if (value <= max)
		return 0;
	o->out_of_range = option;
	return 1;
}

static int set_dmabuf_fd(void *data, unsigned long long *fd)
{
	struct options *o = data;

	o->dmabuf_fd = *fd;
	o->dmabuf_fd_set = 1;
	return set_number(o, "dmabuf_fd", *fd, INT_MAX);
}

static int set_dmabuf_offset(void *data, unsigned long long *offset)
{
	struct options *o = data;

	o->dmabuf_offset = *offset;
	return set_number(o, "dmabuf_offset", *offset, SIZE_ENOUGH);
}

static int set_dmabuf_size(void *data, unsigned long long *size)
{
	struct options *o = data;

	o->dmabuf_size = *size;
	return set_number(o, "dmabuf_size", *size, SIZE_ENOUGH);
}

static int set_sqpoll_cpu(void *data, unsigned long long *cpu)
{
	struct options *o = data;

	o->sqpoll_cpu = *cpu;
	o->sqpoll_cpu_set = 1;
	return set_number(o, "sqthread_poll_cpu", *cpu, INT_MAX);
}

static int set_registerfiles(void *data, int *yes)
{
	struct options *o = data;

	o->registerfiles = *yes;
	o->registerfiles_set = 1;
	return 0;
}

#define ENGINE_OPTION(n, l)					\
	.name = n, .lname = l,					\
	.category = FIO_OPT_C_ENGINE, .group = FIO_OPT_G_INVALID

/* fio prints the help text as the reason. */
#define REFUSED_OPTION(n, why)					\
	{ ENGINE_OPTION(n, n), .type = FIO_OPT_UNSUPPORTED, .help = why }

#define METADATA_OPTION(n)					\
	REFUSED_OPTION(n, "commands here carry no metadata; fio's io_uring_cmd engine has that")

#define MODE_OPTION(n)						\
	REFUSED_OPTION(n, "commands here are reads, writes and flushes; fio's io_uring_cmd engine has others")

#define CMDPRIO_OPTION(n, member, min, max, text) {			\
	ENGINE_OPTION(n, n), .type = FIO_OPT_INT,			\
	.off1 = offsetof(struct options, cmdprio.member[DDIR_READ]),	\
	.off2 = offsetof(struct options, cmdprio.member[DDIR_WRITE]),	\
	.minval = min, .maxval = max, .interval = 1, .help = text }

static struct fio_option options[] = {
	{
		ENGINE_OPTION("registration", "Buffer registration"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, registration),
		.help	= "How io_uring knows the buffers",
		.def	= "dmabuf",
		.posval	= {
			{ .ival = "none", .oval = REGISTER_NONE,
			  .help = "Not at all: READ and WRITE on addresses" },
			{ .ival = "user", .oval = REGISTER_USER,
			  .help = "As user memory: READ_FIXED and WRITE_FIXED" },
			{ .ival = "dmabuf", .oval = REGISTER_DMABUF,
			  .help = "As dma-bufs of the file: the same, mapped for the device once" },
		},
	},
	{
		ENGINE_OPTION("source", "Buffer source"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, source),
		.help	= "Where the memory comes from (default: udmabuf, or what other options are for)",
		.posval	= {
			{ .ival = "udmabuf", .oval = SOURCE_UDMABUF,
			  .help = "System memory: a memfd, exported by /dev/udmabuf" },
			{ .ival = "heap", .oval = SOURCE_HEAP,
			  .help = "A dma-heap: heap=" },
			{ .ival = "drm", .oval = SOURCE_DRM,
			  .help = "A buffer of a DRM device: drm_node=" },
			{ .ival = "vfio", .oval = SOURCE_VFIO,
			  .help = "A BAR of a PCI device: vfio_device= and vfio_region=" },
			{ .ival = "fd", .oval = SOURCE_FD,
			  .help = "A dma-buf handed over: dmabuf_fd= or dmabuf_socket=" },
			{ .ival = "cuda", .oval = SOURCE_CUDA,
			  .help = "Memory of an NVIDIA GPU: gpu_dev_ids=" },
			{ .ival = "hip", .oval = SOURCE_HIP,
			  .help = "Memory of an AMD GPU: gpu_dev_ids=" },
		},
	},
	{
		ENGINE_OPTION("pages", "Page size"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, page_size),
		.help	= "Size of the pages that make up the memory",
		.def	= "4k",
		.posval	= {
			{ .ival = "4k", .oval = 4096,
			  .help = "Small pages" },
			{ .ival = "scattered", .oval = PAGES_SCATTERED,
			  .help = "Small pages, no two of them neighbours in physical memory" },
			{ .ival = "2m", .oval = PAGES_2M,
			  .help = "Huge pages (hugetlb, see /proc/sys/vm/nr_hugepages)" },
			{ .ival = "thp", .oval = PAGES_THP,
			  .help = "Transparent huge pages (see transparent_hugepage/shmem_enabled)" },
		},
	},
	{
		ENGINE_OPTION("heap", "dma-heap"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, heap),
		.help	= "source=heap: its name in /dev/dma_heap (default: system)",
	},
	{
		ENGINE_OPTION("drm_node", "DRM node"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, drm_node),
		.help	= "source=drm: card or render node (default: /dev/dri/card0)",
	},
	{
		ENGINE_OPTION("vfio_device", "VFIO device"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, vfio_device),
		.help	= "source=vfio: PCI address of a device bound to vfio-pci",
	},
	{
		ENGINE_OPTION("vfio_region", "VFIO region"),
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct options, vfio_region),
		.help	= "source=vfio: the BAR",
		.def	= "0",
		.maxval	= 5,
	},
	{
		ENGINE_OPTION("dmabuf_fd", "dma-buf descriptor"),
		.type	= FIO_OPT_INT,
		.cb	= set_dmabuf_fd,
		.help	= "source=fd: number of an inherited descriptor; of several jobs, each takes the next part",
	},
	{
		ENGINE_OPTION("dmabuf_socket", "dma-buf socket"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, dmabuf_socket),
		.help	= "source=fd: UNIX stream socket that sends a dma-buf to whoever connects",
	},
	{
		ENGINE_OPTION("dmabuf_offset", "Offset in the dma-buf"),
		.type	= FIO_OPT_ULL,
		.cb	= set_dmabuf_offset,
		.help	= "source=fd: where in the dma-buf the job's part begins",
	},
	{
		ENGINE_OPTION("gpu_dev_ids", "GPUs"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, gpu_dev_ids),
		.help	= "source=cuda and hip: numbers of GPUs with colons between, shared out to jobs in turn (default: 0)",
	},
	{
		ENGINE_OPTION("dmabuf_size", "Size of one dma-buf"),
		.type	= FIO_OPT_ULL,
		.cb	= set_dmabuf_size,
		.help	= "Share the memory out to dma-bufs of at most this size (0: as large as the source allows)",
		.def	= "0",
	},
	{
		ENGINE_OPTION("cpu_sync", "CPU access brackets"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, cpu_sync),
		.help	= "Bracket CPU access to a dma-buf with DMA_BUF_IOCTL_SYNC (two system calls per I/O)",
		.def	= "auto",
		.posval	= {
			{ .ival = "auto", .oval = CPU_SYNC_AUTO,
			  .help = "With verify=; and for writes without scramble_buffers=0, where that has an effect" },
			{ .ival = "on", .oval = CPU_SYNC_ON, .help = "For every I/O" },
			{ .ival = "off", .oval = CPU_SYNC_OFF, .help = "Never" },
		},
	},
	{
		ENGINE_OPTION("require_p2p", "Memory of another device"),
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct options, require_p2p),
		.help	= "Fail unless the kernel says that the memory is another PCI device's",
	},
	{
		ENGINE_OPTION("summary", "Line at the end"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, summary),
		.help	= "What memory and registrations a job had, in one line at its end",
		.def	= "auto",
		.posval	= {
			{ .ival = "auto", .oval = SUMMARY_AUTO,
			  .help = "Of each job, but with group_reporting once for all that numjobs= makes" },
			{ .ival = "all", .oval = SUMMARY_ALL, .help = "Of each job" },
			{ .ival = "none", .oval = SUMMARY_NONE, .help = "Of none" },
		},
	},
	{
		ENGINE_OPTION("registerfiles", "Register files"),
		.type	= FIO_OPT_STR_SET,
		.cb	= set_registerfiles,
		.help	= "Use io_uring's registered files (default: yes, unless fio has to open and close, for openfiles= or unlink_each_loop=)",
	},
	{
		ENGINE_OPTION("sqthread_poll", "Kernel submission thread"),
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct options, sqpoll),
		.help	= "Let a kernel thread pick up submissions (SQPOLL)",
	},
	{
		ENGINE_OPTION("sqthread_poll_cpu", "CPU of the submission thread"),
		.type	= FIO_OPT_INT,
		.cb	= set_sqpoll_cpu,
		.help	= "CPU that the SQPOLL thread runs on",
	},
	{
		ENGINE_OPTION("hipri", "Polled completions"),
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct options, hipri),
		.help	= "Poll the device for completions (IOPOLL)",
	},
	{
		ENGINE_OPTION("nowait", "RWF_NOWAIT"),
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct options, nowait),
		.help	= "Fail with EAGAIN instead of waiting; then EAGAIN is not issued again",
	},
	{
		ENGINE_OPTION("force_async", "Force async"),
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct options, force_async),
		.help	= "Set IOSQE_ASYNC on every Nth I/O (0: never)",
		.def	= "0",
	},
	{
		ENGINE_OPTION("fixedbufs", "Fixed buffers"),
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct options, ignored),
		.help	= "Accepted and without effect: registration= decides",
	},
	{
		ENGINE_OPTION("nonvectored", "Non-vectored"),
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct options, nonvectored),
		.help	= "0: READV and WRITEV, or READV_FIXED and WRITEV_FIXED, of one range each",
		.def	= "1",
	},
	REFUSED_OPTION("uncached", "no page cache is involved, the engine is for direct=1"),
	CMDPRIO_OPTION("cmdprio_percentage", percentage, 0, 100, "Percentage of I/Os that get cmdprio_class and cmdprio"),
	CMDPRIO_OPTION("cmdprio_class", class, IOPRIO_MIN_PRIO_CLASS + 1, IOPRIO_MAX_PRIO_CLASS, "I/O priority class of these I/Os"),
	CMDPRIO_OPTION("cmdprio", level, IOPRIO_MIN_PRIO, IOPRIO_MAX_PRIO, "I/O priority level of these I/Os"),
#if FIO_IOOPS_VERSION >= 33
	CMDPRIO_OPTION("cmdprio_hint", hint, IOPRIO_MIN_PRIO_HINT, IOPRIO_MAX_PRIO_HINT, "I/O priority hint of these I/Os"),
#endif
	{
		ENGINE_OPTION("cmdprio_bssplit", "Priority percentages by block size"),
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct options, cmdprio.bssplit_str),
		.help	= "The same for each block size, in the manner of bssplit=",
	},
	{
		ENGINE_OPTION("cmd_type", "Command type"),
		.type	= FIO_OPT_STR,
		.off1	= offsetof(struct options, cmd_type),
		.help	= "Kind of commands; files are to be /dev/ngXnY, which implies it",
		.posval	= {
			{ .ival = "nvme", .oval = 1, .help = "NVMe" },
		},
	},
	{
		ENGINE_OPTION("readfua", "FUA of reads"),
		.type	= FIO_OPT_BOOL,
		.off1	= offsetof(struct options, readfua),
		.help	= "/dev/ngXnY: reads come from the medium and from no cache",
		.def	= "0",
	},
	{
		ENGINE_OPTION("writefua", "FUA of writes"),
		.type	= FIO_OPT_BOOL,
		.off1	= offsetof(struct options, writefua),
		.help	= "/dev/ngXnY: writes are done when they are on the medium",
		.def	= "0",
	},
	MODE_OPTION("write_mode"),
	MODE_OPTION("verify_mode"),
	MODE_OPTION("deac"),
	METADATA_OPTION("md_per_io_size"),
	METADATA_OPTION("pi_act"),
	METADATA_OPTION("pi_chk"),
	METADATA_OPTION("apptag"),
	METADATA_OPTION("apptag_mask"),
	{ .name = NULL },
};

/* The one symbol that fio looks for. */
__attribute__((visibility("default")))
struct ioengine_ops ioengine = {
	.name			= "dmabuf",
	.version		= FIO_IOOPS_VERSION,
	.flags			= FIO_RAWIO | FIO_MEMALIGN | FIO_NO_OFFLOAD |
				  FIO_ASYNCIO_SYNC_TRIM | FIO_ASYNCIO_SETS_ISSUE_TIME,
	.init			= dmabuf_init,
	.iomem_alloc		= dmabuf_iomem_alloc,
	.post_init		= dmabuf_post_init,
	.open_file		= dmabuf_open_file,
	.queue			= dmabuf_queue,
	.commit			= dmabuf_commit,
	.getevents		= dmabuf_getevents,
	.event			= dmabuf_event,
	.errdetails		= dmabuf_errdetails,
	.close_file		= dmabuf_close_file,
	.get_file_size		= dmabuf_get_file_size,
	.iomem_free		= dmabuf_iomem_free,
	.cleanup		= dmabuf_cleanup,
	.options		= options,
	.option_struct_size	= sizeof(struct options),
};

/*
 * Releases of fio that share FIO_IOOPS_VERSION differ in the layout of what we
 * read (3.41 and 3.42 do). Before fio hands us anything, make it refuse us
 * unless it is the very release of the headers.
 */
extern const char fio_version_string[] __attribute__((weak));

static const char built_for[] __attribute__((used)) = "dmabuf engine for " FIO_VERSION;

__attribute__((constructor))
static void check_fio(void)
{
	const char *running = fio_version_string ? fio_version_string : "of an unknown version";
	const char *any = getenv("DMABUF_ANY_FIO");

	if (!strcmp(running, FIO_VERSION) || (any && *any && strcmp(any, "0")))
		return;
	fprintf(stderr, "dmabuf: this engine was built for " FIO_VERSION " and this is %s: build it with that fio's source (make -C engines FIO_SRC=...), or set DMABUF_ANY_FIO=1 at your own risk.\n",
		running);
	ioengine.version = -1;
}
