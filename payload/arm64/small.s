/*
 * Hello for 64-bit ARM, small form: 136 bytes.
 *
 * The program header starts inside the ELF header, at e_phnum.  Zero words are
 * undefined instructions here, so execution cannot fall through the headers;
 * it hops between the fields that Linux ignores: 20, 104, 80, 40.
 *
 * The base address is chosen for what its two halves do:
 *
 *	e_entry 0x14000014	the branch from 24 to 104, for free
 *	p_vaddr 0x14000000, 93	one ldp makes it exit's status and number; of
 *				the status only the low byte counts: 0
 *
 * It stays below 2^39, the smallest address space in use.  Fields not used as
 * code say the truth, except p_align, which Linux reads for ET_DYN only.
 */
	.arch	armv8-a

	.equ	base, 93 << 32 | 0x14000000	// 64K aligned: right for any page size

//	field or instruction		   offset  name        as code
file:	.byte	0x7f, 'E', 'L', 'F'	//   0  e_ident: magic
	.byte	2, 1, 1, 0		//   4  64 bits, little-endian, version 1
	.space	8			//   8
	.short	2			//  16  e_type: ET_EXEC
	.short	183			//  18  e_machine: EM_AARCH64

start:	mov	w8, #64			//  20  e_version   write(1, text, 20)
	.quad	base + start - file	//  24  e_entry     b 1f
	.quad	phdr - file		//  32  e_phoff

3:	svc	#0			//  40  e_shoff
	ldp	w0, w8, [x1, #vaddr - text] //  44          exit(0)
	svc	#0			//  48  e_flags
	.short	64			//  52  e_ehsize
	.short	56			//  54  e_phentsize

phdr:	.long	1			//  56  p_type: PT_LOAD
	.long	5			//  60  p_flags: R+X
	.quad	0			//  64  p_offset
vaddr:	.quad	base			//  72  p_vaddr
2:	mov	w2, #20			//  80  p_paddr
	b	3b			//  84
	.quad	end - file		//  88  p_filesz
	.quad	end - file		//  96  p_memsz
1:	mov	w0, #1			// 104  p_align
	adr	x1, text		// 108
	b	2b			// 112

text:	.ascii	"Hello Docker World!\n"	// 116
end:

// p_type is also e_phnum 1 and e_shentsize 0; p_flags is also e_shnum 5 and
// e_shstrndx 0.  Linux reads e_phnum alone.
