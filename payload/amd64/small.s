/*
 * Hello for amd64, small form: 124 bytes.
 *
 * The program header starts inside the ELF header, at e_phnum, and the text
 * right behind p_memsz.  All code lies in fields that Linux ignores, and hops
 * from one to the next: 20, 40, 80.  They have room for 24 bytes, and the
 * 22 bytes of code with one jump fill them exactly; the other jump is free:
 *
 *	e_entry 0x0ceb0014	adc $0, %al; jmp to 40
 *
 * No register needs to be zero at the start.  Fields not used as code say the
 * truth, except p_align, which Linux reads for ET_DYN only.
 */
	.equ	base, 0x0ceb0000	# 64K aligned, as on the other machines

#	field or instruction		   offset  name        as code
file:	.byte	0x7f, 'E', 'L', 'F'	#   0  e_ident: magic
	.byte	2, 1, 1, 0		#   4  64 bits, little-endian, version 1
	.space	8			#   8
	.short	2			#  16  e_type: ET_EXEC
	.short	62			#  18  e_machine: EM_X86_64

start:	push	$60			#  20  e_version   for exit, below
	push	$20			#  22
	.quad	base + start - file	#  24  e_entry     adc $0, %al; jmp 1f
	.quad	phdr - file		#  32  e_phoff

1:	push	$1			#  40  e_shoff     write(1, text, 20)
	pop	%rax			#  42
	mov	%eax, %edi		#  43
	mov	$base + text - file, %esi #  45
	jmp	2f			#  50  (e_flags: 48)
	.short	64			#  52  e_ehsize
	.short	56			#  54  e_phentsize

phdr:	.long	1			#  56  p_type: PT_LOAD
	.long	5			#  60  p_flags: R+X
	.quad	0			#  64  p_offset
	.quad	base			#  72  p_vaddr
2:	pop	%rdx			#  80  p_paddr
	syscall				#  81
	pop	%rax			#  83              exit(0)
	xor	%edi, %edi		#  84
	syscall				#  86
	.quad	end - file		#  88  p_filesz
	.quad	end - file		#  96  p_memsz
text:	.ascii	"Hello Docker World!\n"	# 104  p_align, and on
end:

# p_type is also e_phnum 1 and e_shentsize 0; p_flags is also e_shnum 5 and
# e_shstrndx 0.  Linux reads e_phnum alone.
